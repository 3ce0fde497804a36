import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import type { TemporaryFolder } from '../test/support/temporary-folder.ts';

/** The event loop of a DockerProxy that was started with this environment. */
export interface EventLoop {
  readonly env: NodeJS.ProcessEnv;
  /** Returns the delay since the last call in milliseconds: the 99th percentile. */
  delay(): Promise<number>;
}

const monitor = pathToFileURL(join(import.meta.dirname, 'event-loop-monitor.ts')).href;

export function watchEventLoop(folder: TemporaryFolder): EventLoop {
  const socket = join(folder.path, 'event-loop.sock');
  return {
    env: { NODE_OPTIONS: `--import=${monitor}`, EVENT_LOOP_SOCKET: socket },
    delay: async () => Number(await text(connect(socket))),
  };
}

/** A note below the table. */
export function describeDelay(milliseconds: number): string {
  return `event-loop delay ${milliseconds.toFixed(1)} ms (99th percentile)`;
}
