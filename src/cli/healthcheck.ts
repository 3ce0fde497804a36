import { UsageError } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import { nodeHttp } from '../util/builtins.ts';
import { localUrl } from '../util/local-url.ts';
import { CommandError } from './command-error.ts';

const TIMEOUT_MS = 5_000;

/**
 * Asks the service that runs with these settings on this machine whether it answers.
 *
 * @throws CommandError why it does not; UsageError without a fixed port
 */
export async function checkHealth({ host, port }: Config): Promise<void> {
  if (port === 0)
    throw new UsageError(['Port 0 selects a free port, which this command cannot know. Set it with --port.']);
  const url = `${localUrl(host, port)}/healthz`;
  const status = await new Promise<number | undefined>((resolve, reject) => {
    nodeHttp()
      .get(url, { signal: AbortSignal.timeout(TIMEOUT_MS), agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
      .once('error', (error) =>
        reject(new CommandError(`${url} does not respond: ${error.message}.`, { cause: error })),
      );
  });
  if (status !== 200) throw new CommandError(`${url} answers ${status}.`);
}
