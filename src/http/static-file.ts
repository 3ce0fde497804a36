import { createHash } from 'node:crypto';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import accepts from 'accepts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { evaluatePreconditions } from './preconditions.ts';

/** A text that is served as it is, compressed once and not for each request. */
export interface StaticFile {
  readonly type: string;
  readonly identity: Buffer;
  /** Absent for a text that is too short to gain. */
  readonly compressed: Readonly<Record<Encoding, Buffer>> | undefined;
  /** Weak, as one validator stands for all encodings; quotes included, without the mark of weakness. */
  readonly etag: string;
}

const ENCODINGS = ['br', 'gzip'] as const;
type Encoding = (typeof ENCODINGS)[number];

/** Bytes of the shortest text that is compressed. */
const THRESHOLD = 256;
/** Higher qualities take ten times as long for some percent, and the pages are rendered again after a SIGHUP. */
const BROTLI_QUALITY = 9;

/** Compresses a text and computes its validator. @param type its media type */
export function packFile(text: string | Buffer, type: string): StaticFile {
  const identity = Buffer.from(text);
  const params = { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY };
  const hash = createHash('sha256').update(identity).digest('base64url');
  return {
    type,
    identity,
    compressed:
      identity.length < THRESHOLD
        ? undefined
        : { br: brotliCompressSync(identity, { params }), gzip: gzipSync(identity) },
    etag: `"${hash.slice(0, 22)}"`,
  };
}

/** Sends a file in an encoding that the client accepts, or 304. @param vary request headers that chose the file */
export function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  { type, identity, compressed, etag }: StaticFile,
  vary: readonly string[] = [],
): FastifyReply {
  const { 'if-none-match': ifNoneMatch } = request.headers;
  reply.headers({ etag: `W/${etag}`, vary: [...vary, 'accept-encoding'].join(', ') });
  if (evaluatePreconditions({ ifMatch: undefined, ifNoneMatch }, etag) === 'not-modified')
    return reply.status(304).send();
  reply.type(type);
  const encoding = compressed && ENCODINGS.find((one) => accepts(request.raw).encoding([one]) === one);
  if (compressed === undefined || encoding === undefined) return reply.send(identity);
  return reply.header('content-encoding', encoding).send(compressed[encoding]);
}
