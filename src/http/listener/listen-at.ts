/** The address of Fastify: a host and port, or a socket that listens already. */
export type ListenAt =
  | { readonly host: string; readonly port: number }
  | { readonly host: ''; readonly fd: number };

/** A socket that listens already comes before an address to open one at. */
export function listenAt(host: string, port: number, fd: number | undefined): ListenAt {
  // Fastify would open more for localhost, beside the socket that is there.
  return fd === undefined ? { host, port } : { host: '', fd };
}
