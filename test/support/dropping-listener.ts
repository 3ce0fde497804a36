import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';

/** The backlog of the listener. Linux queues one connection more. */
const BACKLOG = 1;

/** Starts a listener with a stopped process and a full queue, so that the kernel drops each further SYN. */
export async function startDroppingListener(): Promise<{ host: string; origin: string } & AsyncDisposable> {
  const script = `const server = require('node:net').createServer();
    server.listen({ port: 0, host: '127.0.0.1', backlog: ${BACKLOG} }, () => console.log(server.address().port));`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout, 'data');
  const port = Number(line);
  child.kill('SIGSTOP');
  const fillers = Array.from({ length: BACKLOG + 1 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  await Promise.all(fillers.map((filler) => once(filler, 'connect')));
  return {
    host: `127.0.0.1:${port}`,
    origin: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      for (const filler of fillers) filler.destroy();
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}
