/** Loaded into DockerProxy by --import. Reports its current resources to each client of a socket. */
import { createServer } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** The resources of a process. */
export interface Resources {
  /** The number of resources of each kind: `Timeout`, `TCPSocketWrap`, … */
  active: Record<string, number>;
  /** Bytes in use by JavaScript and its buffers, after a collection. */
  bytes: number;
  /** The delay of the event loop in milliseconds: the 99th percentile since the last report. */
  lateMs: number;
}

/** Milliseconds between two samples; each recorded delay contains this time. */
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
