import type { IncomingMessage } from 'node:http';
import { Server, type Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Drain } from './drain.ts';

/** Milliseconds that connections have, once no more are accepted, to ask what they were made for. */
const PATIENCE_MS = 2_000;

/**
 * Ends a server without sending anybody away whom it has let in. Node.js would end every connection that is not being
 * answered at that moment, also those in their TLS handshake. Here no more are accepted first; then whoever has not asked
 * yet may, and is answered; and only then what is kept alive for nothing is closed, and what stays silent. When the time
 * for answers under way is over, all that is left is broken off.
 */
export function closeGracefully(
  app: FastifyInstance,
  { over }: Pick<Drain, 'over'>,
  patience: number = PATIENCE_MS,
): void {
  const silent = new Map<string, Socket>();
  let onAsked = (): void => {};
  const asked = (client: string): void => {
    silent.delete(client);
    if (silent.size === 0) onAsked();
  };
  app.server.on('connection', (socket: Socket) => {
    const client = nameOf(socket);
    silent.set(client, socket);
    socket.once('close', () => asked(client));
  });
  app.server.on('request', ({ socket }: IncomingMessage) => asked(nameOf(socket)));
  app.addHook('preClose', async () => {
    // Not that of http.Server, which would end connections; Fastify calls it afterwards.
    Server.prototype.close.call(app.server);
    const { promise, resolve } = Promise.withResolvers<void>();
    onAsked = resolve;
    const timer = setTimeout(resolve, patience);
    if (silent.size === 0 || over.aborted) resolve();
    await promise;
    clearTimeout(timer);
    for (const socket of silent.values()) socket.destroy();
  });
  over.addEventListener('abort', () => {
    onAsked();
    app.server.closeAllConnections();
  });
}

/** The same of a connection and of the TLS within it. */
function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`;
}
