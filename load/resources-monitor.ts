/** Loaded into DockerProxy by --import: tells what it holds at the moment, to whoever connects to a socket. */
import { createServer } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** The resources of a process. */
export interface Resources {
  /** How many of each kind: `Timeout`, `TCPSocketWrap`, … */
  active: Record<string, number>;
  /** Bytes in use by JavaScript and its buffers, after a collection. */
  bytes: number;
  /** Milliseconds by which the event loop was late, 99th percentile since the last time. */
  lateMs: number;
}

/** Milliseconds between two looks; each recorded delay contains it. */
const resolution = 10;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const delays = monitorEventLoopDelay({ resolution });
delays.enable();
const server = createServer((client) => {
  const lateMs = Math.max(0, delays.percentile(99) / 1e6 - resolution);
  collect();
  const active: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) active[kind] = (active[kind] ?? 0) + 1;
  const { heapUsed, external } = process.memoryUsage();
  const told: Resources = { active, bytes: heapUsed + external, lateMs };
  client.on('error', () => {}).end(JSON.stringify(told));
  delays.reset();
});
server.listen(process.env.RESOURCES_SOCKET).unref();
