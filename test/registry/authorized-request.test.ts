import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { after, before, beforeEach, suite, test } from 'node:test';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseReference } from '../../src/oci/reference.ts';
import type { Credentials } from '../../src/registry/credentials.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type Image, image, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { type Redirector, startRedirector } from '../support/redirector.ts';
import { basicCredentials, type Registry, registryUser, startRegistry } from '../support/registry.ts';
import { startTokenServer, type TokenServer } from '../support/token-server.ts';
import { createStack, type Stack, type StackOptions } from './stack.ts';

const never = new AbortController().signal;
const alice: Credentials = {
  kind: 'password',
  username: registryUser.name,
  password: registryUser.password,
};

suite('a registry that redirects to another registry, with a token server of its own', {
  skip: skipUnless('docker-registry', 'openssl'),
}, () => {
  let resources: AsyncDisposableStack;
  let tokens: TokenServer;
  let registry: Registry;
  /** A proxy in front of the registry that records its requests. */
  let target: FaultProxy;
  let first: Redirector;
  let made: Image;

  before(async () => {
    resources = new AsyncDisposableStack();
    tokens = resources.use(await startTokenServer({ anonymous: (name) => name.startsWith('public/') }));
    registry = resources.use(await startRegistry({ auth: tokens.auth }));
    target = resources.use(await startFaultProxy(registry.url));
    first = resources.use(await startRedirector());
    const layers = [await layer({ files: { one: '1' } }), await layer({ files: { two: '2' } })];
    made = image({ platform: { os: 'linux', architecture: 'amd64' }, layers });
    for (const name of ['public/app', 'private/app']) {
      await push(registry.url, name, 'latest', made, { headers: tokens.headers });
    }
  });

  after(() => resources.disposeAsync());

  beforeEach(() => {
    target.inject(undefined);
    tokens.configure({ expiresIn: 300 });
    for (const { requests } of [target, tokens, first]) requests.length = 0;
    first.target = `${target.url}/v2/public/app`;
    first.wants = undefined;
  });

  const stack = (options: Partial<StackOptions> = {}): Stack =>
    createStack({ hosts: [first.host], trusted: [target.url, tokens.url], ...options });
  const app = () => parseReference(`${first.host}/any/app`);
  const manifest = ({ client }: Stack) => client.manifest(app(), 'latest', never);
  const authorizations = (): (string | undefined)[] =>
    target.requests.map(({ headers }) => headers.authorization?.replace(/ .*/, ''));

  test('serves manifests, blobs and tags by an anonymous token of the other registry', async () => {
    await using ours = stack();
    assert.equal((await manifest(ours)).digest, made.descriptor.digest);
    assert.equal((await ours.client.head(app(), 'latest', never))?.digest, made.descriptor.digest);
    assert.deepEqual((await ours.client.tags(app(), never)).tags, ['latest']);
    for (const { descriptor, content } of [made.config, ...made.layers]) {
      const blob = { ...descriptor, digest: parseDigest(descriptor.digest) };
      const read = await ours.client.blobs(app()).read(blob, undefined, never);
      assert.deepEqual(await buffer(read), Buffer.from(content as Uint8Array));
    }
    const [request, ...others] = tokens.requests;
    assert.deepEqual(others, []);
    assert.equal(request?.parameters.get('scope'), 'repository:public/app:pull');
    assert.equal(request.headers.authorization, undefined);
  });

  test('gets its own challenge answered first, and its token goes nowhere else', async () => {
    const auth = resources.use(await startTokenServer());
    const challenge = `Bearer realm="${auth.url}",service="test-service"`;
    await using ours = stack({ trusted: [target.url, tokens.url, auth.url] });
    // The registry accepts only the token that it issued.
    auth.configure({ expiresIn: 300 });
    first.wants = { authorization: 'Bearer mine', challenge };
    await assert.rejects(manifest(ours), { code: 'image-not-found' });
    assert.equal(auth.requests[0]?.parameters.get('scope'), 'repository:any/app:pull');
    assert.deepEqual(target.requests, []);

    first.wants = { authorization: basicCredentials(), challenge: 'Basic realm="r"' };
    await using known = stack({
      credentialsOf: async (domain) => (domain === first.host ? alice : undefined),
    });
    await manifest(known);
    assert.deepEqual(authorizations(), [undefined, 'Bearer']);
  });

  test('renews a token that the other registry no longer accepts', async () => {
    await using ours = stack();
    await manifest(ours);
    const revoked = target.requests.at(-1)?.headers.authorization;
    const headers = { 'www-authenticate': `Bearer realm="${tokens.url}",service="test-service"` };
    target.inject((request) =>
      request.headers.authorization === revoked ? { kind: 'answer', status: 401, headers } : undefined,
    );
    await manifest(ours);
    assert.equal(tokens.requests.length, 2);
  });

  test('is missing or private if the other registry refuses anonymous clients', async () => {
    await using ours = stack();
    first.target = `${target.url}/v2/private/app`;
    const message = `The image ${first.host}/any/app is missing or private.`;
    await assert.rejects(manifest(ours), { code: 'image-not-found', message });
    assert.equal(tokens.requests.length, 1);
    assert.equal(target.requests.length, 2);
  });

  suite('credentials', () => {
    const targetHost = (): string => new URL(target.url).host;
    const toTarget = async (domain: string) => (domain === targetHost() ? alice : undefined);

    test('for the first registry are not sent to another', async () => {
      await using ours = stack({
        credentialsOf: async (domain) => (domain === first.host ? alice : undefined),
        mayUseCredentials: () => true,
      });
      await manifest(ours);
      assert.equal(tokens.requests[0]?.headers.authorization, undefined);
      assert.deepEqual(authorizations(), [undefined, 'Bearer']);
    });

    test('for the other registry are not used for a repository that clients may not fetch there', async () => {
      const asked: string[] = [];
      await using ours = stack({
        credentialsOf: toTarget,
        mayUseCredentials: ({ name }, origin) => {
          asked.push(`${origin} ${name}`);
          return false;
        },
      });
      first.target = `${target.url}/v2/private/app`;
      await assert.rejects(manifest(ours), { code: 'image-not-found' });
      assert.deepEqual(asked, [`${target.url} ${targetHost()}/private/app`]);
      assert.equal(tokens.requests[0]?.headers.authorization, undefined);
    });

    test('for the other registry are used for a repository that clients may fetch there', async () => {
      await using ours = stack({ credentialsOf: toTarget, mayUseCredentials: () => true });
      first.target = `${target.url}/v2/private/app`;
      assert.equal((await manifest(ours)).digest, made.descriptor.digest);
      assert.equal(tokens.requests[0]?.user, registryUser.name);
    });

    test('for the other registry that it refuses are reported as refused', async () => {
      const wrong: Credentials = { kind: 'password', username: registryUser.name, password: 'wrong' };
      await using ours = stack({ credentialsOf: async () => wrong, mayUseCredentials: () => true });
      await assert.rejects(manifest(ours), {
        code: 'registry-credentials-refused',
        message: `The credentials configured for ${targetHost()} are refused.`,
      });
    });
  });

  test('gets no token from a server that the guard refuses', async () => {
    await using ours = stack({ trusted: [target.url] });
    await assert.rejects(manifest(ours), { code: 'address-refused', message: /token server of/ });
    assert.deepEqual(tokens.requests, []);
  });

  test('cannot bypass the guard', async () => {
    await using ours = stack({ trusted: [tokens.url] });
    await assert.rejects(manifest(ours), { code: 'address-refused' });
    assert.deepEqual(target.requests, []);
  });

  test('is not followed beyond the other registry', async () => {
    await using third = await startRedirector();
    await using ours = stack({ trusted: [target.url, tokens.url, `http://${third.host}`] });
    third.wants = { authorization: 'none', challenge: `Bearer realm="${tokens.url}",service="test-service"` };
    const location = `http://${third.host}/v2/any/app/manifests/latest`;
    target.inject(({ headers }) =>
      headers.authorization ? { kind: 'answer', status: 307, headers: { location } } : undefined,
    );
    await assert.rejects(manifest(ours), { code: 'image-not-found' });
    assert.equal(tokens.requests.length, 1);
    assert.deepEqual(
      third.requests.map(({ headers }) => headers.authorization),
      [undefined],
    );
  });

  test('gets no token for an address that is not of a registry', async () => {
    await using ours = stack();
    target.inject(() => ({
      kind: 'answer',
      status: 401,
      headers: { 'www-authenticate': `Bearer realm="${tokens.url}",service="test-service"` },
    }));
    first.target = `${target.url}/objects/public/app`;
    await assert.rejects(manifest(ours), { code: 'image-not-found' });
    assert.deepEqual(tokens.requests, []);
  });
});
