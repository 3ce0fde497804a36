import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import type { Addresses } from '../../../src/http/protocol/own-address.ts';
import { skipUnless } from '../../support/packages.ts';
import { run } from '../../support/process.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import {
  type Answer,
  DIGEST,
  FILE,
  problemOf,
  sampleArchive,
  sharedServer,
  speak,
  startServer,
} from '../samples.ts';

const DL = '/dl?myimage=busybox';
const MIB = 2 ** 20;
const LARGE = Buffer.alloc(2.5 * MIB, 'large');
const PINNED = `/dl?myimage=busybox:latest@${DIGEST}`;
const REPLICAS: Addresses = {
  replicas: [{ origin: 'http://dl.example' }, { origin: 'https://dl2.example', location: 'de' }],
  domains: [],
};
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function largeArchive() {
  return sampleArchive({
    size: LARGE.length,
    read: (range) => Readable.from([LARGE.subarray(range?.start, range?.end)]),
  });
}

/** The texts of all elements of a name. */
function texts(answer: Answer, name: string): string[] {
  const pattern = new RegExp(`<${name}(?: [^>]*)?>([^<]*)</${name}>`, 'g');
  return [...answer.body.toString().matchAll(pattern)].map(([, text = '']) => text.replaceAll('&amp;', '&'));
}

function linksOf({ head }: Answer): string[] {
  return [...head.matchAll(/^link: (.*?)\r?$/gm)].map(([, link = '']) => link);
}

suite('the metalink of a download', { timeout: 600_000 }, () => {
  test('has name, size, checksum and address, by a parameter or by the path', async () => {
    await using server = await sharedServer();
    for (const path of [`${DL}&metalink=1`, '/dl/busybox.tar.meta4', '/dl/busybox.tar?metalink=1']) {
      const answer = await server.get(path);
      assert.equal(answer.status, 200, path);
      assert.equal(answer.header('content-type'), 'application/metalink4+xml');
      assert.equal(answer.header('content-disposition'), 'attachment; filename="busybox.tar.meta4"');
      assert.equal(
        answer.body.toString(),
        `<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
<generator>DockerProxy/1.2.3</generator>
<file name="busybox.tar">
<size>${FILE.length}</size>
<hash type="sha-256">${sha256(FILE)}</hash>
<url priority="1">http://dl.example${PINNED}</url>
</file>
</metalink>
`,
      );
    }
  });

  test('has the checksum of each piece, and the address at each replica, by digest', async () => {
    await using server = await startServer({ open: largeArchive, addresses: REPLICAS });
    const answer = await server.get(`${DL}&platform=linux/arm64&metalink=1`);
    assert.deepEqual(texts(answer, 'hash'), [
      sha256(LARGE),
      ...[0, 1, 2].map((at) => sha256(LARGE.subarray(at * MIB, (at + 1) * MIB))),
    ]);
    assert.match(answer.body.toString(), /<pieces length="1048576" type="sha-256">/);
    assert.deepEqual(answer.body.toString().match(/<url.*/g), [
      `<url priority="1">http://dl.example${PINNED}</url>`,
      `<url priority="2" location="de">https://dl2.example${PINNED}</url>`,
    ]);
  });

  test('is well-formed, whatever is in it', { skip: skipUnless('xmllint') }, async () => {
    const digests = [DIGEST, DIGEST] as const;
    const open = () => ({ ...largeArchive(), filename: 'a&b<"c">.tar', digests });
    await using server = await startServer({ open, addresses: REPLICAS });
    const answer = await server.get(`${DL}&myimage=ghcr.io/org/app:1&format=oci&metalink=1`);
    assert.match(answer.body.toString(), /<file name="a&amp;b&lt;&quot;c&quot;&gt;\.tar">/);
    const linted = await run('xmllint', ['--noout', '-'], { input: answer.body });
    assert.equal(linted.code, 0, linted.stderr);
    const path = `${PINNED}&myimage=ghcr.io/org/app:1@${DIGEST}&format=oci`;
    assert.deepEqual(texts(answer, 'url'), [`http://dl.example${path}`, `https://dl2.example${path}`]);
  });

  test('HEAD tells its length and computes nothing; conditions are kept, and no shared cache keeps it', async () => {
    let reads = 0;
    const open = () => {
      const archive = largeArchive();
      return sampleArchive({
        ...archive,
        read(range, signal) {
          reads += 1;
          return archive.read(range, signal);
        },
      });
    };
    await using folder = await temporaryFolder();
    await using server = await startServer({ open, checksumFolder: folder.path });
    const head = await server.send('HEAD', `${DL}&metalink=1`);
    assert.equal(reads, 0);
    const get = await server.get(`${DL}&metalink=1`);
    assert.equal(head.header('content-length'), `${get.body.length}`);
    assert.equal(head.header('etag'), get.header('etag'));
    assert.equal(get.header('cache-control'), 'private, no-cache');
    const again = await server.get(`${DL}&metalink=1`, { 'if-none-match': `${get.header('etag')}` });
    assert.equal(again.status, 304);
    assert.equal(again.header('cache-control'), 'private, no-cache');
    const elsewhere = await server.get(`${DL}&metalink=1`, { host: 'other.example' });
    assert.notEqual(elsewhere.header('etag'), get.header('etag'));
    assert.equal((await server.get(`${DL}&checksum=1`)).body.toString(), `${sha256(LARGE)}  busybox.tar\n`);
    assert.equal(reads, 1, 'one pass is for the checksum, too');
    assert.notEqual((await server.get(DL)).header('repr-digest'), undefined);
  });

  test('counts as the bytes of a download once, when it is computed', async () => {
    await using folder = await temporaryFolder();
    const limits = { dailyBytes: 10 * FILE.length };
    await using server = await startServer({ checksumFolder: folder.path, limits });
    const left = async (): Promise<number> =>
      JSON.parse((await server.get('/api/v1/limits')).body.toString()).bytes.remaining;
    assert.equal((await server.get(`${DL}&metalink=1`)).status, 200);
    assert.equal(await left(), 9 * FILE.length);
    assert.equal((await server.get(`${DL}&metalink=1`)).status, 200);
    assert.equal(await left(), 9 * FILE.length, 'one that is known costs nothing');
  });

  test('covers the bytes of a part, and lists a file for each of all parts', async () => {
    await using server = await startServer({ open: largeArchive, addresses: REPLICAS });
    const part = `${DL}&parts=2MiB`;
    const bytes = (await server.get(`${part}&part=2`)).body;
    const one = await server.get(`${part}&part=2&metalink=1`);
    assert.deepEqual(texts(one, 'size'), [`${bytes.length}`]);
    assert.deepEqual(texts(one, 'hash'), [sha256(bytes)]);
    assert.equal(texts(one, 'url')[1], `https://dl2.example${PINNED}&parts=2097152&part=2`);
    assert.equal(one.header('content-disposition'), 'attachment; filename="busybox.tar.part02of02.meta4"');

    const all = await server.get(`${part}&metalink=1`);
    assert.equal(all.header('content-disposition'), 'attachment; filename="busybox.tar.2-parts.meta4"');
    assert.deepEqual(
      [...all.body.toString().matchAll(/<file name="([^"]*)">/g)].map(([, name]) => name),
      ['busybox.tar.part01of02', 'busybox.tar.part02of02'],
    );
    assert.equal(texts(all, 'url').length, 4);
    assert.equal(texts(all, 'hash').at(-1), sha256(bytes));
    const tooMany = await startServer({ open: () => sampleArchive({ size: 2000 * MIB }) });
    await using _ = tooMany;
    assert.equal((await tooMany.get(`${DL}&parts=1MiB&metalink=1`)).reason, '2001 parts are too many');
  });

  test('names what cannot be asked for by digest by its name, here alone', async () => {
    const engine = await startServer({ traits: { isReproducible: false }, addresses: REPLICAS });
    await using _ = engine;
    const query = 'platform=linux/arm64&metalink=1';
    assert.deepEqual(texts(await engine.get(`${DL}&${query}`), 'url'), [
      'http://dl.example/dl?myimage=busybox&platform=linux/arm64',
    ]);
    await using server = await startServer({ addresses: REPLICAS });
    const signed = 'platform=all&format=oci&referrers=1';
    const answer = await server.get(`${DL}@${DIGEST}&${signed}&metalink=1`);
    assert.deepEqual(texts(answer, 'url'), [
      `http://dl.example/dl?myimage=busybox@${DIGEST}&${signed.replace('&referrers=1', '')}&referrers=1`,
    ]);
    const file = await server.get(`${DL}@${DIGEST}&${signed}`);
    assert.equal(file.header('cache-control'), 'public, no-cache', 'there may be more signatures tomorrow');
  });

  test('names the registry’s index for a rebuilt index', async () => {
    const upstream = [`sha256:${'a'.repeat(64)}`] as never;
    await using server = await startServer({ open: () => ({ ...sampleArchive(), upstream }) });
    const query = 'platform=linux/amd64,linux/arm64&format=oci';
    const expected = `platform=linux/amd64%2Clinux/arm64&format=oci`;
    assert.deepEqual(texts(await server.get(`${DL}&${query}&metalink=1`), 'url'), [
      `http://dl.example/dl?myimage=busybox:latest@${upstream}&${expected}`,
    ]);
    const redirect = await server.get(`${DL}&${query}&redirect=1`);
    assert.equal(redirect.header('location'), `/dl?myimage=busybox@${upstream}&${expected}`);
  });

  test('is not available for a live archive, even with a checksum in its place', async () => {
    const live = { ...sampleArchive(), size: undefined, start: async () => Readable.from([FILE]) };
    await using server = await startServer({ open: () => live });
    assert.equal(problemOf(await server.get(`${DL}&metalink=1`)).code, 'archive-not-kept');
    assert.equal(problemOf(await server.get(`${DL}&metalink=1&checksum=1`)).code, 'parameter-invalid');
  });
});

const PROXY = ['127.0.0.1'];

suite('the URLs of a metalink', { timeout: 600_000 }, () => {
  const origin = async (addresses: Addresses, headers: Record<string, string>, trust: string[] = []) => {
    await using server = await startServer({ addresses, trustProxy: trust });
    const [url = ''] = texts(await server.get(`${DL}&metalink=1`, headers), 'url');
    return url.slice(0, url.indexOf('/dl?'));
  };
  const none: Addresses = { replicas: [], domains: [] };

  test('is the Host header, with the scheme that a trusted proxy names', async () => {
    assert.equal(await origin(none, { host: 'a.example:8080' }), 'http://a.example:8080');
    assert.equal(await origin(none, { host: 'a_container:8080' }), 'http://a_container:8080');
    const forwarded = { host: 'a.example', 'x-forwarded-for': '192.0.2.1', 'x-forwarded-proto': 'https' };
    assert.equal(await origin(none, forwarded), 'http://a.example');
    assert.equal(await origin(none, forwarded, PROXY), 'https://a.example');
    assert.equal(
      await origin(none, { ...forwarded, 'x-forwarded-proto': 'HTTP' }, PROXY),
      'http://a.example',
    );
  });

  test('has only the schemes http and https, even if a trusted proxy passes on another', async () => {
    for (const proto of [
      'evil',
      'javascript',
      'https://evil.example/?',
      'data:',
      'ftp',
      'https;',
      '"https"',
      ',',
    ]) {
      const forwarded = { host: 'a.example', 'x-forwarded-proto': proto, forwarded: `proto=${proto}` };
      assert.equal(await origin(none, forwarded, PROXY), 'http://a.example', proto);
    }
  });

  test('ignores hosts that a client writes into headers that its proxy passes on', async () => {
    const forged = { 'x-forwarded-host': 'evil.example', forwarded: 'host=evil.example;proto=https' };
    assert.equal(await origin(none, { host: 'a.example', ...forged }, PROXY), 'http://a.example');
    const domains: Addresses = { replicas: [], domains: ['d.example', 'e.example'] };
    assert.equal(await origin(domains, { host: 'e.example', ...forged }, PROXY), 'http://e.example');
    assert.equal(await origin(domains, { host: 'inner:8080', ...forged }, PROXY), 'https://d.example');
  });

  test('is the domain or the replica that a trusted proxy names', async () => {
    const set: Addresses = {
      replicas: [{ origin: 'https://a.example' }],
      domains: ['d.example', 'e.example'],
    };
    const asked = (host: string) => ({
      host: 'inner:8080',
      'x-forwarded-host': host,
      'x-forwarded-proto': 'https',
    });
    assert.equal(await origin(set, asked('e.example'), PROXY), 'https://e.example');
    assert.equal(await origin(set, asked('a.example'), PROXY), 'https://a.example');
    assert.equal(await origin(set, asked('evil.example, E.example'), PROXY), 'https://e.example');
    assert.equal(await origin(set, asked('e.example')), 'https://d.example');
  });

  test('is a replica as it is set, and one of the domains', async () => {
    const set: Addresses = {
      replicas: [{ origin: 'https://a.example' }],
      domains: ['d.example', 'e.example'],
    };
    assert.equal(await origin(set, { host: 'A.example' }), 'https://a.example');
    assert.equal(await origin(set, { host: 'e.example' }), 'http://e.example');
    assert.equal(await origin(set, { host: 'evil.example' }), 'https://d.example');
  });

  test('needs a Host header, which a download by HTTP/1.0 does not', async () => {
    await using server = await sharedServer();
    const ask = (path: string) => speak(server.port, `GET ${path} HTTP/1.0\r\n\r\n`);
    assert.equal((await ask(DL)).status, 200);
    assert.equal(problemOf(await ask(`${DL}&metalink=1`)).code, 'request-malformed');
  });
});

suite('the Link header of a download (RFC 6249)', { timeout: 600_000 }, () => {
  test('names the metalink and the other replicas, in all answers', async () => {
    await using server = await startServer({ addresses: REPLICAS });
    const expected = [
      `<${PINNED}&metalink=1>; rel=describedby; type="application/metalink4+xml"`,
      `<https://dl2.example${PINNED}>; rel=duplicate; geo=de`,
    ];
    const whole = await server.get(DL);
    for (const answer of [
      whole,
      await server.send('HEAD', DL),
      await server.get(DL, { range: 'bytes=5-9' }),
      await server.get(DL, { 'if-none-match': `${whole.header('etag')}` }),
    ]) {
      assert.deepEqual(linksOf(answer), expected);
    }
    assert.deepEqual(linksOf(await server.get(DL, { range: 'bytes=20000-' })), []);
  });

  test('has as many replicas as clients can read', async () => {
    const replicas = Array.from({ length: 500 }, (_, at) => ({ origin: `https://dl${at}.example` }));
    await using server = await startServer({ addresses: { replicas, domains: [] } });
    const links = linksOf(await server.get(DL));
    assert.equal(links.filter((link) => link.endsWith('rel=duplicate')).length, links.length - 1);
    const { length } = links.join(', ');
    assert.ok(length > 3500 && length <= 4096, `${length}`);
  });

  test('comes with the digest in the form that it knows, where that is known', async () => {
    await using folder = await temporaryFolder();
    await using server = await startServer({ open: largeArchive, checksumFolder: folder.path });
    assert.equal((await server.get(DL)).header('digest'), undefined);
    await server.get(`${DL}&metalink=1`);
    const expected = createHash('sha256').update(LARGE).digest('base64');
    assert.equal((await server.get(DL)).header('digest'), `SHA-256=${expected}`);
    await server.get(`${DL}&parts=2MiB&part=2&metalink=1`);
    const part = await server.get(`${DL}&parts=2MiB&part=2`);
    assert.equal(part.header('digest'), `SHA-256=${createHash('sha256').update(part.body).digest('base64')}`);
  });
});
