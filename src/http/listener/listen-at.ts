/** The address of Fastify: a host and port, or a socket that listens already. */
export type ListenAt =
  | { readonly host: string; readonly port: number }
  | { readonly host: ''; readonly fd: number };

/** A socket that listens already comes before an address to open one at. */
export function listenAt(host: string, port: number, fd: number | undefined): ListenAt {
  // For localhost, Fastify would open further sockets in addition to this one.
  return fd === undefined ? { host, port } : { host: '', fd };
}
