import type { Figures, Row, RowId } from './figures.ts';

/** Creates a measured line; by default, of a second and a gigabyte. */
export function measured(id: RowId, figures: Partial<Figures>, details?: Record<string, number>): Row {
  return {
    id,
    figures: { seconds: 1, imageBytes: 1e9, ...figures },
    runs: 1,
    ...(details ? { details } : {}),
  };
}
