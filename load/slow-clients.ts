import { once } from 'node:events';
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net';
import type { ReadableOptions } from 'node:stream';

/** Clients that each read a few kilobytes a second of a download until the service disconnects them. */
export interface SlowClients {
  /** The number of clients that are still connected. */
  alive(): number;
  /** The smallest number of bytes that a client received. */
  fewest(): number;
  /** A sample of clients, with their addresses and received bytes. */
  some(): readonly { address: string; bytes: number }[];
  leave(): void;
}

const TICK_MS = 250;
/** The number of connections opened at a time, because real clients do not all connect at once. */
const AT_ONCE = 50;
const SOME = 10;

/** Starts downloads from separate loopback addresses, and reads them at a rate in bytes a second. */
export async function startSlowClients(url: URL, count: number, pace: number): Promise<SlowClients> {
  const taken = new Map<Socket, number>();
  for (let begun = 0; begun < count; begun += AT_ONCE) {
    const sockets = Array.from({ length: Math.min(AT_ONCE, count - begun) }, (_, at) =>
      download(url, addressOf(begun + at)),
    );
    for (const socket of sockets) taken.set(socket, 0);
    await Promise.all(sockets.map((socket) => once(socket, 'readable')));
  }
  const timer = setInterval(() => {
    for (const [socket, bytes] of taken) {
      const chunk = (socket.read(pace * (TICK_MS / 1000)) ?? socket.read()) as Buffer | null;
      if (chunk !== null) taken.set(socket, bytes + chunk.length);
    }
  }, TICK_MS);
  return {
    alive: () => [...taken.keys()].filter((socket) => !socket.destroyed && !socket.readableEnded).length,
    fewest: () => Math.min(...taken.values()),
    some: () => [...taken.values()].slice(0, SOME).map((bytes, at) => ({ address: addressOf(at), bytes })),
    leave() {
      clearInterval(timer);
      for (const socket of taken.keys()) socket.destroy();
    },
  };
}

function addressOf(at: number): string {
  return `127.1.${at >> 8}.${at & 255}`;
}

function download({ hostname, port, pathname, search }: URL, localAddress: string): Socket {
  // A small buffer, because the server counts bytes in the buffers of Node.js as read.
  const options: TcpNetConnectOpts & ReadableOptions = {
    host: hostname,
    port: Number(port),
    localAddress,
    highWaterMark: 8192,
  };
  const socket = connect(options);
  socket.on('error', () => {}).on('readable', () => {});
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\nhost: load.test\r\nconnection: close\r\n\r\n`);
  return socket;
}
