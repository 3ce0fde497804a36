import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';

export interface Listening extends AsyncDisposable {
  port: number;
  /** The address and port. */
  host: string;
  /** The number of connections so far. */
  readonly connections: number;
}

/** Lets a server listen, by default on a loopback port that the kernel chooses. Disposal ends all connections. */
export async function listen(server: Server, address = '127.0.0.1', port = 0): Promise<Listening> {
  const sockets = new Set<Socket>();
  let connections = 0;
  server.on('connection', (socket: Socket) => {
    connections += 1;
    sockets.add(socket.once('close', () => sockets.delete(socket)));
  });
  await once(server.listen(port, address), 'listening');
  const bound = server.address() as AddressInfo;
  return {
    port: bound.port,
    host: `${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`,
    get connections() {
      return connections;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
