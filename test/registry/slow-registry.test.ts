import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseReference } from '../../src/oci/reference.ts';
import {
  challenging,
  type Handler,
  type HostileRegistry,
  type Misbehaviour,
  startHostileRegistry,
} from '../support/hostile-registry.ts';
import { waitFor } from '../support/wait-for.ts';
import { createStack } from './stack.ts';

const never = new AbortController().signal;
// Real time, because undici and AbortSignal.timeout measure it. The tests wait concurrently.
const LIMITS = {
  idleTimeout: 400,
  metadataTimeout: 800,
  slowest: { bytesPerSecond: 1024, patience: 800 },
};
const TOO_SLOW = { code: 'registry-timeout', status: 504 };

/** Sends a few bytes from time to time, endlessly. */
function dripping(bytes: string, head = 'HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n'): Handler {
  return ({ socket }) => {
    socket.write(head);
    const drip = setInterval(() => socket.write(bytes), 50);
    socket.once('close', () => clearInterval(drip));
  };
}

suite('a registry that drips', { timeout: 600_000, concurrency: true }, () => {
  let registry: HostileRegistry;

  before(async () => {
    registry = await startHostileRegistry();
  });
  after(() => registry[Symbol.asyncDispose]());

  /** Fetches a manifest or a layer, and checks that the fetch fails and its connections are closed. */
  async function giveUp(name: string, how: Misbehaviour, what: 'manifest' | 'layer'): Promise<void> {
    registry.misbehave(name, how);
    await using ours = createStack({ hosts: [registry.host], ...LIMITS });
    const repository = parseReference(`${registry.host}/${name}`);
    const { digest, size, mediaType } = registry.honest(name).layers[0]?.descriptor ?? assert.fail();
    const layer: Descriptor = { mediaType, size, digest: parseDigest(digest) };
    const fetch = async (): Promise<void> => {
      if (what === 'manifest') await ours.client.manifest(repository, 'latest', never);
      else for await (const _chunk of await ours.client.blobs(repository).read(layer, undefined, never));
    };
    await assert.rejects(fetch(), TOO_SLOW);
    const isGone = (): boolean => registry.requests(name).every(({ socket }) => socket.destroyed);
    await waitFor(isGone, { what: 'the end of the connections' });
  }

  test('a manifest', () => giveUp('manifest', { manifest: dripping(' ') }, 'manifest'));
  test('the head of an answer', () =>
    giveUp('head', { manifest: dripping('x: y\r\n', 'HTTP/1.1 200 OK\r\n') }, 'manifest'));
  test('interim answers', () =>
    giveUp('interim', { manifest: dripping('HTTP/1.1 103 Early Hints\r\n\r\n', '') }, 'manifest'));
  test('the rest of a redirect', () =>
    giveUp(
      'redirect',
      { manifest: dripping(' ', 'HTTP/1.1 307 Moved\r\nlocation: /\r\ncontent-length: 60000\r\n\r\n') },
      'manifest',
    ));
  test('a token', () => {
    registry.at('/token', dripping(' '));
    return giveUp('token', { manifest: challenging(`${registry.url}/token`) }, 'manifest');
  });
  test('a layer', () => {
    const size = registry.honest('layer').layers[0]?.descriptor.size;
    const head = `HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n`;
    return giveUp('layer', { layer: dripping('x', head) }, 'layer');
  });
  test('the head of a layer', () =>
    giveUp('layer-head', { layer: dripping('x: y\r\n', 'HTTP/1.1 200 OK\r\n') }, 'layer'));
  test('interim answers before a layer', () =>
    giveUp('layer-interim', { layer: dripping('HTTP/1.1 103 Early Hints\r\n\r\n', '') }, 'layer'));
});
