import { type Figures, medians, type Row, type RowId } from './figures.ts';

/** One measurement for one line of the table. */
export interface Measurement {
  id: RowId;
  figures: Figures;
  /** Said below the table. */
  note?: string;
  /** Kept in the JSON. */
  details?: Record<string, number>;
}

/** A way to an image, or several that share their preparations. */
export interface Way {
  /** The lines that it gives measurements for. */
  ids: RowId[];
  /** Why it cannot be measured here. */
  absent?: string | undefined;
  /** Its failure ends the bench; that of another only leaves its lines out. */
  essential?: true;
  repetitions: number;
  measure(): Promise<Measurement[]>;
}

/**
 * Measures all ways. They take turns, so that whatever else the machine does meets all of them; a line's figures are
 * the medians of its repetitions.
 */
export async function takeTurns(
  ways: Way[],
  signal: AbortSignal,
  log: (line: string) => void,
): Promise<Row[]> {
  const measured: Measurement[] = [];
  const absent = new Map(ways.flatMap((way) => (way.absent ? [[way, way.absent]] : [])));
  const turns = Math.max(...ways.map(({ repetitions }) => repetitions));
  for (let turn = 1; turn <= turns; turn++) {
    for (const way of ways.filter(({ repetitions }) => turn <= repetitions)) {
      if (absent.has(way)) continue;
      log(`${way.ids.join(', ')}: ${turn} of ${way.repetitions}`);
      try {
        measured.push(...(await way.measure()));
      } catch (error) {
        signal.throwIfAborted();
        if (way.essential) throw error;
        absent.set(
          way,
          `it failed: ${error instanceof Error ? error.message.trim().replaceAll(/\s+/g, ' ') : error}`,
        );
      }
    }
  }
  return ways.flatMap((way) => {
    const reason = absent.get(way);
    return way.ids.map((id) => (reason ? { id, absent: reason } : rowOf(id, measured)));
  });
}

function rowOf(id: RowId, all: Measurement[]): Row {
  const measurements = all.filter((one) => one.id === id);
  const last = measurements.at(-1);
  return {
    id,
    figures: medians(measurements.map(({ figures }) => figures)) as Figures,
    runs: measurements.length,
    ...(last?.note ? { note: last.note } : {}),
    ...(last?.details ? { details: medians(measurements.map(({ details }) => details ?? {})) } : {}),
  };
}
