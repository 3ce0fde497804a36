import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { get } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import {
  answering,
  type Handler,
  type HostileRegistry,
  type Misbehaviour,
  startHostileRegistry,
} from '../support/hostile-registry.ts';
import type { Image } from '../support/images.ts';
import { waitFor } from '../support/wait-for.ts';

export const MEBIBYTE = 1024 * 1024;
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
/** The maximum memory of the server under any attack. */
const MEMORY_MAX = 400 * MEBIBYTE;
/** The maximum time of one test: an idle limit and some attempts. */
const TEST_MS = 60_000;

/** The status and code of a refusal, or the end and length of a download with status 200. */
export type Outcome = { status: number; code: string } | { end: 'whole' | 'broken'; size: number };

/** The real server with a hostile registry as its upstream, and a listener on loopback that no request may reach. */
export interface HostileBed {
  registry: HostileRegistry;
  proxy: DockerProxy;
  /** The port of that listener. */
  inside: number;
  download(repository: string): Promise<Outcome>;
  /** Returns the outcome of a download. Asserts that the log has a line about it, and that the next download works. */
  suffer(how: How): Promise<Outcome>;
  /** Ends everything. Asserts that no descriptor, memory, internal error or request to the inside remains. */
  close(): Promise<void>;
}

/** Derives a registry's misbehavior from a correct image. */
export type How = (honest: Image) => Misbehaviour;

export async function startHostileBed(env: NodeJS.ProcessEnv = {}): Promise<HostileBed> {
  const registry = await startHostileRegistry();
  let visits = 0;
  const listener = createServer((socket) => {
    visits += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const proxy = await startDockerProxy({
    env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host, DOCKERPROXY_LOG_LEVEL: 'info', ...env },
  });
  const download = (repository: string): Promise<Outcome> =>
    outcome(`${proxy.url}/dl?myimage=${registry.host}/${repository}`);
  const descriptors = async (): Promise<number> => (await readdir(`/proc/${proxy.pid}/fd`)).length;
  await download('warm');
  const before = await descriptors();
  let count = 0;
  return {
    registry,
    proxy,
    inside: (listener.address() as AddressInfo).port,
    download,
    async suffer(how) {
      const number = count++;
      const repository = `evil/${number}`;
      registry.misbehave(repository, how(registry.honest(repository)));
      const result = await download(repository);
      const next = await download(`good/${number}`);
      assert.ok('end' in next && next.end === 'whole', `the next one works: ${JSON.stringify(next)}`);
      const line = new RegExp(`^\\[(?:OK|FAILED)\\] .*/${repository}(?![0-9])`);
      const isLogged = (): boolean => proxy.logs().some(({ msg }) => line.test(msg));
      await waitFor(isLogged, { timeout: TEST_MS, what: `a line about ${repository}` });
      return result;
    },
    async close() {
      await registry[Symbol.asyncDispose]();
      listener.close();
      try {
        await waitFor(async () => (await descriptors()) <= before, {
          timeout: TEST_MS,
          what: 'all descriptors to be closed',
        });
        assert.equal(visits, 0, 'nobody got inside');
        assert.ok(proxy.memory() < MEMORY_MAX, `${proxy.memory()} bytes of memory`);
        assert.deepEqual(
          proxy.logs().filter(({ level }) => level >= 50),
          [],
          'a mistake of ours',
        );
        assert.equal(proxy.stderr(), '');
      } finally {
        await proxy[Symbol.asyncDispose]();
      }
    },
  };
}

/** Tests a fault that is refused before the first byte. */
export function refused(bed: () => HostileBed, title: string, status: number, code: string, how: How): void {
  test(`${title}: ${status} ${code}`, { timeout: TEST_MS }, async () => {
    assert.deepEqual(await bed().suffer(how), { status, code });
  });
}

/** Tests a fault that can show only after the headers: it is refused, or the download breaks off. */
export function broken(bed: () => HostileBed, title: string, how: How): void {
  test(`${title}: the download fails`, { timeout: TEST_MS }, async () => {
    const result = await bed().suffer(how);
    assert.ok('end' in result ? result.end === 'broken' : result.status >= 400, JSON.stringify(result));
  });
}

export const digest = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;

interface ManifestBody {
  config: object;
  layers: object[];
}

/** Serves an image's manifest, changed. */
export function manifestOf({ bytes }: Image, change: (body: ManifestBody) => object): Handler {
  return answering(change(JSON.parse(String(bytes)) as ManifestBody));
}

/** Serves an image's manifest with other members of its layers. */
export function withLayer(honest: Image, more: object): Handler {
  return manifestOf(honest, (body) => ({ ...body, layers: body.layers.map((one) => ({ ...one, ...more })) }));
}

/** Serves bodies by tag or digest. */
export function byReference(
  bodies: Record<string, string | Uint8Array>,
  headers: Record<string, string> = {},
): Handler {
  return (request, response) => {
    const body = bodies[/[^/]+$/.exec(request.url ?? '')?.[0] ?? ''];
    if (body === undefined) response.writeHead(404).end();
    else answering(body, headers)(request, response);
  };
}

/** Downloads and returns the outcome. */
export function outcome(url: string): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false });
    request.once('error', reject).once('response', (response) => {
      const { statusCode: status = 0 } = response;
      const problem: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (status >= 400) problem.push(chunk);
      });
      response
        .on('error', () => {})
        .once('close', () => {
          if (status < 400) return resolve({ end: response.complete ? 'whole' : 'broken', size });
          resolve({ status, code: (JSON.parse(String(Buffer.concat(problem))) as { code: string }).code });
        });
    });
  });
}
