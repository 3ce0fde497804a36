import { runInNewContext } from 'node:vm';

/**
 * Runs synchronous work and returns its result. Interrupts work that does not end within two minutes, such as a regular
 * expression that backtracks: no timeout of a test could stop it.
 */
export function runInterruptibly<T>(work: () => T): T {
  return runInNewContext('work()', { work }, { timeout: 120_000 });
}
