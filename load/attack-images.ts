import { answering, type HostileRegistry } from '../test/support/hostile-registry.ts';
import { type Blob, blob, type Image, sha256 } from '../test/support/images.ts';

const MEBIBYTE = 2 ** 20;
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
const FOREIGN = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

/** Images that are made to cost a service much, each in a repository of its own. */
export interface AttackImages {
  /** A config with a command of 4 MiB; returns the digest of the manifest. */
  largeCommand(repository: string): string;
  /** A manifest and a config of 4 MiB each. */
  largeMetadata(repository: string): void;
  /** Foreign layers, without a URL or with one each in a zone of its own. */
  foreignLayers(repository: string, count: number, zone?: string): void;
  /** A manifest of 4 MiB of empty objects. */
  jsonBomb(repository: string): void;
  /** 20,000 tags with many dots. */
  longTags(repository: string): void;
  /** 1,000 layers of a few bytes each. */
  tinyLayers(repository: string): void;
  /** One layer, which is sent as fast as it is read. */
  largeLayer(repository: string, bytes: number): void;
}

export function createAttackImages(registry: HostileRegistry): AttackImages {
  const serve = (repository: string, manifest: Uint8Array, blobs: readonly Blob[]): void => {
    const contents = new Map(
      blobs.map(({ descriptor, content }) => [descriptor.digest, content as Uint8Array]),
    );
    registry.misbehave(repository, {
      manifest: answering(manifest, { 'content-type': MANIFEST }),
      blob: (request, response) => {
        const content = contents.get((request.url ?? '').replace(/.*\//, ''));
        if (content === undefined)
          response.writeHead(200, { 'content-length': 1 }).end(request.method === 'HEAD' ? undefined : ' ');
        else answering(content)(request, response);
      },
    });
  };
  const configOf = (layers: number, more: object = {}): Blob =>
    blob(
      CONFIG,
      Buffer.from(
        JSON.stringify({
          ...{ os: 'linux', architecture: 'amd64' },
          rootfs: { type: 'layers', diff_ids: Array.from({ length: layers }, (_, at) => digestOf(`${at}`)) },
          ...more,
        }),
      ),
    );
  const manifestOf = (config: Blob, layers: readonly object[], more: object = {}): Buffer =>
    Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config: config.descriptor, layers, ...more }),
    );
  const onlyLayer = ({ layers }: Image): Blob[] => layers;

  return {
    largeCommand(repository) {
      const layers = onlyLayer(registry.honest(repository));
      const config = configOf(1, { config: { Cmd: [repository, 'x'.repeat(4 * MEBIBYTE - 1000)] } });
      const manifest = manifestOf(
        config,
        layers.map(({ descriptor }) => descriptor),
      );
      serve(repository, manifest, [config, ...layers]);
      return sha256(manifest);
    },
    largeMetadata(repository) {
      const layers = onlyLayer(registry.honest(repository));
      const config = configOf(1, { config: { Labels: { repository, x: 'x'.repeat(4 * MEBIBYTE - 1000) } } });
      const annotations = { repository, x: 'x'.repeat(4 * MEBIBYTE - 1500) };
      const manifest = manifestOf(
        config,
        layers.map(({ descriptor }) => descriptor),
        { annotations },
      );
      serve(repository, manifest, [config, ...layers]);
    },
    foreignLayers(repository, count, zone) {
      const config = configOf(count);
      const layers = Array.from({ length: count }, (_, at) => ({
        ...{ mediaType: FOREIGN, digest: digestOf(`${repository} ${at}`), size: 1000 },
        ...(zone !== undefined && { urls: [`https://layer-${at}.${zone}/${at}`] }),
      }));
      serve(repository, manifestOf(config, layers), [config]);
    },
    jsonBomb(repository) {
      const head = `{"schemaVersion":2,"mediaType":"${MANIFEST}","x":"${repository}","layers":[{}`;
      const count = Math.floor((4 * MEBIBYTE - head.length - 3) / 3);
      serve(repository, Buffer.from(`${head}${',{}'.repeat(count)}]}`), []);
    },
    longTags(repository) {
      const tags = Array.from({ length: 20_000 }, (_, at) => `${'1.'.repeat(50)}${at}.${'0.'.repeat(10)}1`);
      registry.at(`/v2/${repository}/tags/list`, answering({ name: repository, tags }));
      registry.misbehave(repository, {
        manifest: (_request, response) => void response.writeHead(404).end(),
      });
    },
    tinyLayers(repository) {
      const config = configOf(1000);
      const layers = Array.from({ length: 1000 }, (_, at) => blob(LAYER, Buffer.from(`${repository} ${at}`)));
      serve(
        repository,
        manifestOf(
          config,
          layers.map(({ descriptor }) => descriptor),
        ),
        [config, ...layers],
      );
    },
    largeLayer(repository, bytes) {
      const config = configOf(1);
      const layer = { mediaType: LAYER, digest: digestOf(repository), size: bytes };
      const chunk = Buffer.alloc(MEBIBYTE, repository);
      registry.misbehave(repository, {
        manifest: answering(manifestOf(config, [layer]), { 'content-type': MANIFEST }),
        blob(request, response) {
          if (request.url?.endsWith(config.descriptor.digest)) {
            return answering(config.content)(request, response);
          }
          let left = bytes;
          const fill = (): void => {
            while (left > 0 && !response.destroyed) {
              const part = chunk.subarray(0, left);
              left -= part.length;
              if (!response.write(part)) return;
            }
            response.end();
          };
          response.writeHead(200, { 'content-length': bytes }).on('drain', fill);
          if (request.method === 'HEAD') response.end();
          else fill();
        },
      });
    },
  };
}

function digestOf(text: string): string {
  return sha256(Buffer.from(text));
}
