import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * Reserves a TCP port of a loopback address, 127.0.0.1 by default. Programs need one if they cannot report the
 * kernel's choice, or must restart at the same port. The kernel chooses the port unless it is given. An idle
 * connection to the port stays open until this process ends. Meanwhile, the kernel gives the port neither to another
 * server nor to an outgoing connection. Servers that set SO_REUSEADDR, such as Node.js, Go, nginx, HAProxy and Redis,
 * can still listen there.
 *
 * @throws Error `EADDRINUSE`
 * @see https://man7.org/linux/man-pages/man7/socket.7.html
 */
export async function reservePort(address = '127.0.0.1', wanted = 0): Promise<number> {
  const server = createServer();
  await once(server.listen(wanted, address), 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect(port, address);
  const [accepted] = (await once(server, 'connection')) as [Socket];
  for (const end of [client, accepted]) end.on('error', () => {}).unref();
  // The server stops listening at once; its callback would wait for the connection to end.
  server.close();
  return port;
}
