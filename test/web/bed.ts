import { createHash } from 'node:crypto';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { type SearchServer, startSearch } from '../support/search-server.ts';
import { type StandardImages, standardImages } from '../support/standard-images.ts';

/** The running service with a real registry and a stand-in for Docker Hub's search. */
export interface Bed extends AsyncDisposable {
  url: string;
  proxy: DockerProxy;
  registry: Registry;
  search: SearchServer;
  images: StandardImages;
  /** `127.0.0.1:PORT/library/busybox` */
  busybox: string;
  /** The digest of a download, in hex. */
  expected(path: string): Promise<string>;
}

const REPOSITORIES = [
  {
    repo_name: 'nginx',
    short_description: 'Official build of Nginx.',
    star_count: 20_000,
    is_official: true,
  },
  { repo_name: 'bitnami/nginx', short_description: 'Bitnami container image for NGINX', star_count: 200 },
];

/** The images that the start page suggests, from a mirror of Docker Hub. */
const HUB = [
  ['library/python', '3.12-slim'],
  ['library/python', 'latest'],
  ['library/nginx', '1.27'],
  ['library/postgres', '17'],
] as const;

/** @param more settings that depend on the registry */
export async function startBed(
  env: NodeJS.ProcessEnv = {},
  more: (registry: Registry) => Promise<NodeJS.ProcessEnv> = async () => ({}),
): Promise<Bed> {
  const stack = new AsyncDisposableStack();
  try {
    const registry = stack.use(await startRegistry());
    const images = await standardImages(registry);
    for (const tag of ['1.36.1', '1.36', '1.37.0-rc1', 'musl']) {
      await push(registry.url, 'library/busybox', tag, images.busybox135);
    }
    for (const [repository, tag] of HUB) await push(registry.url, repository, tag, images.busybox);
    const search = stack.use(await startSearch(REPOSITORIES));
    const proxy = stack.use(
      await startDockerProxy({
        env: {
          DOCKERPROXY_ALLOW: `${registry.host}/**,docker.io/**`,
          DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
          DOCKERPROXY_REGISTRIES: `docker.io=http://${registry.host}`,
          DOCKERPROXY_SEARCH_URL: search.url,
          DOCKERPROXY_RATE_LIMIT: '0',
          DOCKERPROXY_OPERATOR_NAME: 'Example Labs',
          DOCKERPROXY_OPERATOR_CONTACT: 'images@example.org',
          ...env,
          ...(await more(registry)),
        },
      }),
    );
    return {
      ...{ url: proxy.url, proxy, registry, search, images, busybox: `${registry.host}/library/busybox` },
      expected: async (path) =>
        createHash('sha256')
          .update((await httpCall(`${proxy.url}${path}`)).body)
          .digest('hex'),
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}
