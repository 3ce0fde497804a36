import { createRequire } from 'node:module';

const load = createRequire(import.meta.url);

/** Loads node:http. An import would read all its exports, including WebSocket, which takes 60 ms and 13 MB. */
export function nodeHttp(): typeof import('node:http') {
  return load('node:http');
}

/** Loads node:tls on first use, because loading takes 25 ms and 5 MB. */
export function nodeTls(): typeof import('node:tls') {
  return load('node:tls');
}
