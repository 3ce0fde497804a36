import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { inChunks } from '../../util/streams.ts';

/** Sends bytes in chunks as the client reads, without copying them. */
export function sendBytes(reply: FastifyReply, bytes: Uint8Array): FastifyReply {
  reply.header('content-length', bytes.length);
  return reply.send(Readable.from(inChunks(bytes), { objectMode: false }));
}
