import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

/** Reports only the tests that fail, each with its file and its error, and nothing if all pass. */
// biome-ignore lint/style/noDefaultExport: Node.js requires it of reporters
export default async function* failuresReporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of source) {
    if (type !== 'test:fail') continue;
    const error: Error & { failureType?: string } = data.details.error;
    // A suite that fails because of its tests adds nothing to them.
    if (error.failureType === 'subtestsFailed') continue;
    yield `\n✖ ${data.name} (${data.file}:${data.line})\n${inspect(error.cause ?? error)}\n`;
  }
}
