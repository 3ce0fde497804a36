/**
 * The number of inputs for each parser of untrusted bytes in a normal test run, by the test file. `npm run fuzz`
 * multiplies them by FUZZ, 20 by default.
 */
export const BUDGET = {
  addresses: 20_000,
  references: 20_000,
  queries: 10_000,
  requests: 500,
  ranges: 10_000,
  preconditions: 5_000,
  platforms: 5_000,
  challenges: 15_000,
  links: 5_000,
  retryAfter: 5_000,
  manifests: 4_000,
  indexes: 4_000,
  configs: 4_000,
  bytes: 3_000,
  dockerConfigs: 500,
  credentialHelpers: 100,
  helperAnswers: 30,
  tagLists: 1_000,
  referrerLists: 1_000,
  searches: 1_000,
  tokens: 1_000,
  hosts: 250,
  tarNames: 1_000,
  layers: 500,
  forwarded: 5_000,
  signatures: 500,
} as const;

/** Returns the number of runs for fast-check. */
export function runs(edge: keyof typeof BUDGET): { numRuns: number } {
  return { numRuns: BUDGET[edge] * Number(process.env.FUZZ ?? 1) };
}
