import { type Figures, medians, type Row, type RowId, rowNames } from './figures.ts';

/** One measurement for one line of the table. */
export interface Measurement {
  id: RowId;
  figures: Figures;
  /** A note below the table. */
  note?: string;
  /** Extra values for the JSON report. */
  details?: Record<string, number>;
}

/** A way to an image, or several that share their preparations. */
export interface Way {
  /** The lines that it measures. */
  ids: RowId[];
  /** The reason why it cannot be measured here. */
  absent?: string | undefined;
  /** True if its failure ends the bench. Otherwise, a failure only omits its lines. */
  essential?: true;
  repetitions: number;
  measure(): Promise<Measurement[]>;
}

/**
 * Measures all ways. They take turns, so that other load on the machine affects all of them. The figures of a line are
 * medians.
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
        const results = await way.measure();
        measured.push(...results);
        for (const { id, figures } of results) log(`  ${rowNames[id]}: ${describe(figures)}`);
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

/** Describes figures as soon as they are measured, so that an interrupted bench also has results. */
function describe({ seconds, cpuSeconds, peakBytes }: Figures): string {
  const cpu = cpuSeconds === undefined ? '' : `, ${cpuSeconds.toFixed(2)} s of CPU`;
  const memory = peakBytes === undefined ? '' : `, ${Math.round(peakBytes / 1e6)} MB`;
  return `${seconds.toFixed(2)} s${cpu}${memory}`;
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
