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
  repetitions: number;
  measure(): Promise<Measurement[]>;
}

/**
 * Measures all ways. They take turns, so that whatever else the machine does meets all of them; a line's figures are
 * the medians of its repetitions.
 */
export async function takeTurns(ways: Way[], log: (line: string) => void): Promise<Row[]> {
  const measured: Measurement[] = [];
  const turns = Math.max(...ways.map(({ repetitions }) => repetitions));
  for (let turn = 1; turn <= turns; turn++) {
    for (const way of ways.filter(({ absent, repetitions }) => !absent && turn <= repetitions)) {
      log(`${way.ids.join(', ')}: ${turn} of ${way.repetitions}`);
      measured.push(...(await way.measure()));
    }
  }
  return ways.flatMap(({ ids, absent }) =>
    ids.map((id) =>
      absent
        ? { id, absent }
        : rowOf(
            id,
            measured.filter((one) => one.id === id),
          ),
    ),
  );
}

function rowOf(id: RowId, measurements: Measurement[]): Row {
  const last = measurements.at(-1);
  return {
    id,
    figures: medians(measurements.map(({ figures }) => figures)) as Figures,
    runs: measurements.length,
    ...(last?.note ? { note: last.note } : {}),
    ...(last?.details ? { details: medians(measurements.map(({ details }) => details ?? {})) } : {}),
  };
}
