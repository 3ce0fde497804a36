import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { sha256 } from './images.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface FakeEngineOptions {
  /** The newest version of the API that it speaks, and the oldest. */
  apiVersion: string;
  minApiVersion?: string;
  /** True for the containerd store, in which a name refers to an index whose platforms are pulled separately. */
  store: 'overlay2' | 'btrfs' | 'containerd';
  /** The ID of the engine. */
  id?: string;
}

export interface FakeEngine extends AsyncDisposable {
  /** `unix://…` */
  dockerHost: string;
  socketPath: string;
  /** `GET /v1.51/images/json`, with the query decoded, in the order in which they came. */
  requests: string[];
  /** Sets the image that the registry has under a name (`docker.io/library/a:latest`). */
  publish(name: string, platforms: string[], content?: string): Published;
  /** Pulls as another client of the engine. */
  pull(name: string, platform?: string): void;
  tag(from: string, to: string): void;
  /** Its images by name, and those without one by their ID alone. */
  images(): string[];
  /** Replaces the engine by another one with the same address and images. */
  become(options: FakeEngineOptions): void;
  /** Holds back the responses to these requests, or to all, until the promise settles. */
  hang(until: Promise<void>, is?: (request: string) => boolean): void;
  /** Sends these messages during the next pull. */
  report(lines: object[], until: Promise<void>): void;
  /** Refuses these requests with this status and message from now on. */
  refuse(is: (request: string) => boolean, status: number, message: string): void;
  /** Leaves these files out of what it saves from now on. */
  leaveOut(is: (file: string) => boolean): void;
  /** The number of responses in progress. */
  answering(): number;
}

export interface Published {
  /** The digest of the index. */
  digest: string;
  /** Platform → digest. */
  manifests: Map<string, string>;
  /** Platform → digests of the config, which is the image's ID in graph drivers, and of the only layer. */
  configs: Map<string, string>;
  layers: Map<string, string>;
}

interface Stored extends Published {
  /** The platforms that were pulled. */
  present: Set<string>;
}

const HOST_PLATFORM = 'linux/amd64';
const SIZE = 2 ** 20;
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';

/**
 * An engine of any version, over a socket, as far as this service speaks to it: no machine has them all. Its answers are
 * those of moby's daemon/images and daemon/containerd.
 */
export async function startFakeEngine(initial: FakeEngineOptions): Promise<FakeEngine> {
  const folder = await temporaryFolder();
  const socketPath = join(folder.path, 'engine.sock');
  const published = new Map<string, Published>();
  const stored = new Map<string, Stored>();
  const names = new Map<string, string>();
  const blobs = new Map<string, Buffer>();
  let refusal: { is: (request: string) => boolean; answer: Answer } | undefined;
  let isLeftOut = (_file: string): boolean => false;
  const requests: string[] = [];
  let options = initial;
  let silence = { until: Promise.resolve(), is: (_request: string): boolean => false };
  let said: { lines: object[]; until: Promise<void> } | undefined;
  const responses = new Set<ServerResponse>();

  const isContainerd = (): boolean => options.store === 'containerd';
  const named = (name: string): [id: string, image: Stored] | undefined => {
    const id = stored.has(name) ? name : names.get(name);
    const image = id === undefined ? undefined : stored.get(id);
    return id === undefined || image === undefined ? undefined : [id, image];
  };
  const tagsOf = (id: string): string[] =>
    [...names].flatMap(([name, at]) => (at === id && (isContainerd() || !name.includes('@')) ? [name] : []));

  const pull = (name: string, wanted?: string): string | undefined => {
    const found = published.get(name);
    if (found === undefined) return `manifest for ${name} not found: manifest unknown`;
    // A single manifest is used as it is, unless the request names another platform.
    const [only] = found.manifests.size === 1 ? found.manifests.keys() : [];
    const platform = wanted ?? only ?? HOST_PLATFORM;
    const manifest = found.manifests.get(platform);
    if (manifest === undefined) return `no matching manifest for ${platform} in the manifest list entries`;
    const id = isContainerd() ? found.digest : (found.configs.get(platform) ?? '');
    const image = stored.get(id) ?? { ...found, present: new Set() };
    image.present.add(platform);
    stored.set(id, image);
    names.set(name, id);
    return undefined;
  };

  const inspect = (name: string, platform: string | undefined): Answer => {
    const [id, image] = named(name) ?? [];
    if (id === undefined || image === undefined) return noSuchImage(name);
    const isChosen = platform !== undefined && isContainerd();
    if (isChosen && !image.present.has(platform)) return noSuchImage(`${name} for ${platform}`);
    const own = isChosen ? platform : [...image.present].sort()[0];
    const [os, architecture] = own?.split('/') ?? [];
    const Id = isChosen ? image.manifests.get(platform) : id;
    return json({
      Id,
      Size: SIZE,
      Os: os,
      Architecture: architecture,
      RepoTags: tagsOf(id),
      RepoDigests: [],
    });
  };

  const remove = (name: string): Answer => {
    const [id] = named(name) ?? [];
    if (id === undefined) return noSuchImage(name);
    const tags = [...names].flatMap(([tag, at]) => (at === id ? [tag] : []));
    if (name === id && tags.length > 1)
      return refuse(409, 'conflict: image is referenced in multiple repositories');
    for (const tag of name === id ? tags : [name]) names.delete(tag);
    if (![...names.values()].includes(id)) stored.delete(id);
    return json([]);
  };

  const save = async (wanted: string[], platform: string | undefined, version: string): Promise<Answer> => {
    const files = new Map<string, Buffer>();
    for (const name of wanted) {
      const [id, image] = named(name) ?? [];
      if (id === undefined || image === undefined) return noSuchImage(name);
      if (platform !== undefined && !image.present.has(platform)) return noSuchImage(name);
      saveImage(files, { name, id, image, platform, version });
    }
    const tar = pack();
    for (const [name, content] of [...files].sort()) {
      // The same image is the same bytes, whenever it is saved.
      if (!isLeftOut(name)) tar.entry({ name, mtime: new Date(0) }, content);
    }
    tar.finalize();
    return { status: 200, body: await buffer(tar) };
  };

  const blob = (digest: string): Buffer => blobs.get(digest) ?? assert.fail(`no blob ${digest}`);

  const saveImage = (files: Map<string, Buffer>, { name, id, image, platform, version }: Saved): void => {
    const append = (file: string, entry: object): void => {
      const others = JSON.parse(`${files.get(file) ?? '[]'}`) as object[];
      files.set(file, Buffer.from(JSON.stringify([...others, entry])));
    };
    const [first = ''] = [...image.present].sort();
    const [config = '', layer = '', manifest = ''] = [image.configs, image.layers, image.manifests].map(
      (digests) => digests.get(platform ?? first) ?? '',
    );
    const RepoTags = name.includes('@') ? null : [name];
    // As daemon/images and image/tarexport of Docker 20.10 have it.
    if (!isContainerd() && minor(version) < minor('1.44')) {
      const hex = config.slice('sha256:'.length);
      files.set(`${hex}.json`, blob(config));
      files.set(`${hex}/layer.tar`, blob(layer));
      append('manifest.json', { Config: `${hex}.json`, RepoTags, Layers: [`${hex}/layer.tar`] });
      return;
    }
    const isWhole = isContainerd() && platform === undefined && image.digest !== manifest;
    const manifests = isWhole
      ? [...image.present].map((each) => image.manifests.get(each) ?? '')
      : [manifest];
    const present = isWhole ? [...image.present] : [platform ?? first];
    const contents = present.flatMap((each) => [image.configs.get(each) ?? '', image.layers.get(each) ?? '']);
    for (const digest of [...(isWhole ? [id] : []), ...manifests, ...contents])
      files.set(blobPath(digest), blob(digest));
    append('manifest.json', { Config: blobPath(config), RepoTags, Layers: [blobPath(layer)] });
    files.set('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
    const root = { ...descriptor(isWhole ? id : manifest), mediaType: isWhole ? INDEX_TYPE : MANIFEST_TYPE };
    const annotations = RepoTags === null ? {} : { 'io.containerd.image.name': name };
    const others = JSON.parse(`${files.get('index.json') ?? '{"manifests":[]}'}`) as { manifests: object[] };
    const all = { schemaVersion: 2, manifests: [...others.manifests, { ...root, annotations }] };
    files.set('index.json', Buffer.from(JSON.stringify(all)));
  };

  const keep = (content: Buffer): string => {
    const digest = sha256(content);
    blobs.set(digest, content);
    return digest;
  };
  const descriptor = (digest: string): object => ({ digest, size: blob(digest).length });

  const answer = (method: string, path: string, query: URLSearchParams): Answer | Promise<Answer> => {
    const [, version, rest = path] = /^\/v(1\.\d+)(\/.*)$/.exec(path) ?? [];
    const refusal = version === undefined ? undefined : versionRefusal(version, options);
    if (refusal !== undefined) return refuse(400, refusal);
    const speaks = (wanted: string): boolean => minor(version ?? options.apiVersion) >= minor(wanted);
    const image = /^\/images\/(.+?)(\/json)?$/.exec(rest);
    if (rest === '/version')
      return json({ ApiVersion: options.apiVersion, Version: `of ${options.apiVersion}` });
    if (rest === '/info') return json(infoOf(options));
    if (rest === '/images/json') {
      return json(
        [...stored.keys()].map((Id) => ({ Id, Size: SIZE, RepoTags: tagsOf(Id), RepoDigests: [] })),
      );
    }
    if (rest === '/images/create') {
      const [tag = '', platform] = [query.get('tag') ?? '', query.get('platform') ?? undefined];
      const error = pull(`${query.get('fromImage')}${tag.includes(':') ? '@' : ':'}${tag}`, platform);
      return error === undefined ? json({ status: 'Pulled' }) : refuse(404, error);
    }
    if (rest === '/images/get')
      return save(
        query.getAll('names'),
        platformIn(query, isContainerd() && speaks('1.48')),
        options.apiVersion,
      );
    if (image?.[2] !== undefined) return inspect(image[1] ?? '', platformIn(query, speaks('1.49')));
    if (image !== null && method === 'DELETE') return remove(image[1] ?? '');
    return refuse(500, `${method} ${rest} is nothing that this engine knows`);
  };

  const serve = async (
    { method = '', url = '' }: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> => {
    const { pathname, searchParams } = new URL(url, 'http://engine');
    const path = decodeURIComponent(pathname);
    const query = [...searchParams].map(([name, value]) => `${name}=${value}`).join('&');
    const request = `${method} ${path}${query && '?'}${query}`;
    requests.push(request);
    responses.add(response);
    response.once('close', () => responses.delete(response));
    if (silence.is(request)) await silence.until;
    if (path.endsWith('/images/create') && said !== undefined) {
      const { lines, until } = said;
      said = undefined;
      for (const line of lines) response.write(`${JSON.stringify(line)}\n`);
      await until;
    }
    const { status, body } = refusal?.is(request) ? refusal.answer : await answer(method, path, searchParams);
    // A started response already has a status.
    if (!response.headersSent) response.writeHead(status, { 'content-type': 'application/json' });
    response.end(body);
  };
  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));

  return {
    dockerHost: `unix://${socketPath}`,
    socketPath,
    requests,
    publish(name, platforms, content = name) {
      const [manifests, configs, layers] = [1, 2, 3].map(() => new Map<string, string>()) as Maps;
      for (const platform of platforms) {
        const [os, architecture] = platform.split('/');
        const layer = keep(Buffer.alloc(SIZE, `${content} ${platform}`));
        const rootfs = { type: 'layers', diff_ids: [layer] };
        const config = keep(Buffer.from(JSON.stringify({ os, architecture, config: {}, rootfs })));
        const manifest = {
          schemaVersion: 2,
          mediaType: MANIFEST_TYPE,
          config: { ...descriptor(config), mediaType: 'application/vnd.oci.image.config.v1+json' },
          layers: [{ ...descriptor(layer), mediaType: 'application/vnd.oci.image.layer.v1.tar' }],
        };
        configs.set(platform, config);
        layers.set(platform, layer);
        manifests.set(platform, keep(Buffer.from(JSON.stringify(manifest))));
      }
      const entries = [...manifests].map(([platform, manifest]) => {
        const [os, architecture] = platform.split('/');
        return { ...descriptor(manifest), mediaType: MANIFEST_TYPE, platform: { os, architecture } };
      });
      const index = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests: entries };
      const made = { digest: keep(Buffer.from(JSON.stringify(index))), manifests, configs, layers };
      const repository = name.replace(/:[^/]*$/, '');
      for (const each of [name, `${repository}@${made.digest}`]) published.set(each, made);
      // A digest of one platform's manifest is an image of that platform alone.
      for (const [platform, manifest] of manifests) {
        const only = new Map([[platform, manifest]]);
        published.set(`${repository}@${manifest}`, { ...made, digest: manifest, manifests: only });
      }
      return made;
    },
    pull(name, platform) {
      const error = pull(name, platform);
      if (error !== undefined) throw new Error(error);
    },
    tag(from, to) {
      const [id] = named(from) ?? [];
      if (id === undefined) throw new Error(`There is no ${from}`);
      names.set(to, id);
    },
    images: () => {
      const nameless = [...stored.keys()].filter((id) => ![...names.values()].includes(id));
      return [...names.keys(), ...nameless].sort();
    },
    become(next) {
      options = next;
    },
    hang(until, is = () => true) {
      silence = { until, is };
    },
    report(lines, until) {
      said = { lines, until };
    },
    refuse(is, status, message) {
      refusal = { is, answer: refuse(status, message) };
    },
    leaveOut(is) {
      isLeftOut = is;
    },
    answering: () => responses.size,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** An image as it is saved. */
interface Saved {
  name: string;
  id: string;
  image: Stored;
  platform: string | undefined;
  /** The version of the API. */
  version: string;
}

type Maps = [Map<string, string>, Map<string, string>, Map<string, string>];

function blobPath(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

interface Answer {
  status: number;
  body: string | Buffer;
}

function json(value: unknown, status = 200): Answer {
  return { status, body: JSON.stringify(value) };
}

function refuse(status: number, message: string): Answer {
  return json({ message }, status);
}

function noSuchImage(name: string): Answer {
  return refuse(404, `No such image: ${name}`);
}

function infoOf({ store, id = 'engine' }: FakeEngineOptions): object {
  return store === 'containerd'
    ? { ID: id, Driver: 'overlayfs', DriverStatus: [['driver-type', 'io.containerd.snapshotter.v1']] }
    : { ID: id, Driver: store, DriverStatus: [['Backing Filesystem', 'extfs']] };
}

/** In the words of moby's version middleware. */
function versionRefusal(
  version: string,
  { apiVersion, minApiVersion = '1.12' }: FakeEngineOptions,
): string | undefined {
  if (minor(version) > minor(apiVersion))
    return `client version ${version} is too new. Maximum supported API version is ${apiVersion}`;
  if (minor(version) < minor(minApiVersion))
    return `client version ${version} is too old. Minimum supported API version is ${minApiVersion}, please upgrade your client to a newer version`;
  return undefined;
}

function minor(version: string): number {
  return Number(version.split('.')[1]);
}

/** An engine ignores query parameters that it does not know. */
function platformIn(query: URLSearchParams, isKnown: boolean): string | undefined {
  const text = query.get('platform');
  if (!isKnown || text === null) return undefined;
  const { os, architecture } = JSON.parse(text) as { os: string; architecture: string };
  return `${os}/${architecture}`;
}
