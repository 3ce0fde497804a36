import process from 'node:process';
import { helpText } from '../cli/help.ts';
import { UsageError } from '../config/loader.ts';

/** The width of the help in a wider terminal, or if the width is unknown. */
const WIDEST = 80;
/** The help does not get narrower than this. */
const NARROWEST = 50;

/** Runs `dockerproxy help` and `dockerproxy COMMAND --help`. @throws UsageError for an unknown topic */
export async function help(topics: readonly string[]): Promise<void> {
  const [topic, ...others] = topics;
  if (others.length > 0) throw new UsageError(['Name one topic, as in: dockerproxy help save']);
  const columns = Math.max(Math.min(process.stdout.columns ?? WIDEST, WIDEST), NARROWEST);
  process.stdout.write(helpText(topic, columns));
}
