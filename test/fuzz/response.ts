import { Readable } from 'node:stream';
import type { HttpResponse } from '../../src/net/http.ts';

/** A response of a registry or another server. */
export function responseWith(
  status: number,
  headers: Record<string, string>,
  body: string | Uint8Array = '',
): HttpResponse {
  return {
    status,
    url: new URL('https://registry.example/v2/a/b/tags/list'),
    header: (name) => headers[name],
    body: Readable.from(body.length === 0 ? [] : [Buffer.from(body)]),
    release() {},
  };
}
