import { createRequire } from 'node:module';

const load = createRequire(import.meta.url);

/** Loads node:http. An import reads all its exports, WebSocket among them, which takes 60 ms and 13 MB. */
export function nodeHttp(): typeof import('node:http') {
  return load('node:http');
}

/** Loads node:tls, which takes 25 ms and 5 MB, for those who connect by TLS. */
export function nodeTls(): typeof import('node:tls') {
  return load('node:tls');
}
