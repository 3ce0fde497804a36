import type { IncomingMessage } from 'node:http';
import { Server, type Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Drain } from './drain.ts';

/** Milliseconds that accepted connections have to send their request after the listener has closed. */
const PATIENCE_MS = 2_000;

/**
 * Closes a server without aborting accepted clients. Node.js would close every connection without a response in
 * progress, also those in a TLS handshake. First, the server accepts no more connections. Then it serves the requests
 * that arrive on the accepted ones, and closes idle and silent connections. After the timeout for responses in
 * progress, it aborts the rest.
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
  app.server.on('request', ({ socket }: IncomingMessage) => {
    if (silent.size > 0) asked(nameOf(socket));
  });
  app.addHook('preClose', async () => {
    // The method of net.Server, because that of http.Server would close connections. Fastify calls the latter
    // afterwards.
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

/** Handles a TLS connection and its TCP socket alike. */
function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`;
}
