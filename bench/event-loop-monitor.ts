/** Loaded into DockerProxy by --import. Reports the delay of its event loop since the last request. */
import { createServer } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Milliseconds between two samples; each recorded delay contains this time. */
const resolution = 5;

const delays = monitorEventLoopDelay({ resolution });
delays.enable();
const server = createServer((client) => {
  // Nanoseconds. https://nodejs.org/api/perf_hooks.html#histogrampercentilepercentile
  client.end(String(Math.max(0, delays.percentile(99) / 1e6 - resolution)));
  delays.reset();
});
server.listen(process.env.EVENT_LOOP_SOCKET).unref();
