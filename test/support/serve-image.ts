import type { Handler, HostileRegistry } from './hostile-registry.ts';
import type { Manifest } from './images.ts';

/**
 * Serves a manifest with everything below it from a repository, byte for byte, like a registry without validation: for
 * every tag, and by digest.
 */
export function serveImage(registry: HostileRegistry, repository: string, root: Manifest): void {
  const all = new Map<string, { type: string; bytes: Uint8Array }>();
  const add = ({ descriptor, bytes, blobs, children }: Manifest): void => {
    all.set(descriptor.digest, { type: descriptor.mediaType, bytes });
    for (const { descriptor: own, content } of blobs) {
      if (content instanceof Uint8Array)
        all.set(own.digest, { type: 'application/octet-stream', bytes: content });
    }
    children.forEach(add);
  };
  add(root);
  const handler: Handler = ({ url = '', method }, response) => {
    const asked = url.split('/').at(-1) ?? '';
    const digest = asked.startsWith('sha256:') ? asked : root.descriptor.digest;
    const found = all.get(digest);
    if (found === undefined) return void response.writeHead(404).end();
    const { type, bytes } = found;
    response.writeHead(200, {
      'content-type': type,
      'content-length': bytes.length,
      'docker-content-digest': digest,
    });
    response.end(method === 'HEAD' ? undefined : bytes);
  };
  registry.misbehave(repository, { manifest: handler, blob: handler });
}
