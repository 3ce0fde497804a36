import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { FORMAT_NAMES } from '../../../src/archive/format.ts';
import { detail } from '../../../src/errors/details.ts';
import { listErrors, ServiceError } from '../../../src/errors.ts';
import type { ServiceInfo } from '../../../src/http/api/info.ts';
import { LANGUAGES } from '../../../src/http/web-assets.ts';
import { formatReference } from '../../../src/oci/reference.ts';
import { PUBLIC_REGISTRIES } from '../../../src/policy/public-registries.ts';
import type { DetailsRequest } from '../../../src/sources/image-catalogue.ts';
import { httpCall } from '../../support/http-request.ts';
import { INFO, problemOf, type RunningServer, sharedServer, startServer } from '../samples.ts';

const WEB = join(import.meta.dirname, '../../../web');
/** Bytes that one visitor gets, before images. */
const BUDGET = { identity: 60_000, gzip: 25_000 };

/** Lists a module and all that it imports at once. The rest loads when a visitor needs it. */
function modulesFrom(name: string, known = new Set<string>()): Set<string> {
  if (known.has(name)) return known;
  known.add(name);
  const imports = readFileSync(join(WEB, name), 'utf8').matchAll(
    /^(?:import|export) .*from '\.\/([\w-]+\.js)';$/gm,
  );
  for (const [, other = ''] of imports) modulesFrom(other, known);
  return known;
}

/** The page and the URL that its assets are below. */
async function pageOf(
  server: RunningServer,
  path = '/',
  headers = {},
): Promise<{ html: string; assets: string }> {
  const answer = await server.get(path, headers);
  assert.equal(answer.status, 200);
  const html = answer.body.toString();
  return { html, assets: /"(\/assets\/[\w-]+)\/app\.js"/.exec(html)?.[1] ?? '' };
}

suite('the page', { timeout: 600_000 }, () => {
  const preferred: [accept: string | undefined, lang: string][] = [
    [undefined, 'en'],
    ['fa-IR,fa;q=0.9,en;q=0.8', 'fa'],
    ['zh-TW,en;q=0.5', 'zh'],
    ['de-DE,es;q=0.7,en;q=0.3', 'es'],
    ['tlh', 'en'],
  ];
  for (const [accept, lang] of preferred) {
    test(`Accept-Language: ${accept} gives ${lang}`, async () => {
      await using server = await sharedServer();
      const { html } = await pageOf(server, '/', accept === undefined ? {} : { 'accept-language': accept });
      assert.match(html, new RegExp(`<html lang="${lang}" dir="${lang === 'fa' ? 'rtl' : 'ltr'}">`));
      assert.doesNotMatch(html, /\{\{|undefined/);
    });
  }

  test('?lang= overrides the browser’s preference for a supported language', async () => {
    await using server = await sharedServer();
    const headers = { 'accept-language': 'ru' };
    assert.match((await pageOf(server, '/?lang=es', headers)).html, /<html lang="es"/);
    for (const lang of ['xx', '../en', 'constructor']) {
      assert.match((await pageOf(server, `/?lang=${lang}`, headers)).html, /<html lang="ru"/);
    }
  });

  test('the browser keeps the choice of ?lang=, which overrides its preference', async () => {
    await using server = await sharedServer();
    const chosen = await server.get('/?lang=es', { 'accept-language': 'ru' });
    const cookie = chosen.header('set-cookie') ?? '';
    assert.match(cookie, /^lang=es; Path=\/; Max-Age=\d+; SameSite=Lax; HttpOnly$/);
    const later = await server.get('/', { 'accept-language': 'ru', cookie: 'a=b; lang=es' });
    assert.match(later.body.toString(), /<html lang="es"/);
    assert.match(later.header('vary') ?? '', /cookie/);
    assert.equal(later.header('set-cookie'), undefined);
    for (const other of ['lang=xx', 'slang=es', 'lang=', 'lang=__proto__']) {
      const page = await server.get('/', { 'accept-language': 'ru', cookie: other });
      assert.match(page.body.toString(), /<html lang="ru"/, other);
    }
    assert.equal((await server.get('/?lang=xx')).header('set-cookie'), undefined);
  });

  test('the cookie of the language is Secure where the browser uses HTTPS', async () => {
    const cookieOf = async (headers: Record<string, string>, trustProxy: string[] = []): Promise<string> => {
      await using server = await startServer({ trustProxy });
      return (await server.get('/?lang=es', headers)).header('set-cookie') ?? '';
    };
    const https = { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-proto': 'https' };
    assert.match(await cookieOf(https, ['127.0.0.1']), /; Secure$/);
    assert.doesNotMatch(await cookieOf(https), /Secure/);
    assert.doesNotMatch(await cookieOf({ ...https, 'x-forwarded-proto': 'http' }, ['127.0.0.1']), /Secure/);
  });

  test('is requested again each time, and sent if it has changed', async () => {
    await using server = await sharedServer();
    const first = await server.get('/');
    assert.equal(first.header('cache-control'), 'no-cache');
    assert.match(first.header('vary') ?? '', /accept-language/i);
    const etag = first.header('etag') ?? '';
    assert.match(etag, /^W\/"[\w-]+"$/);
    assert.equal((await server.get('/', { 'if-none-match': etag })).status, 304);
    assert.equal((await server.get('/?lang=ru', { 'if-none-match': etag })).status, 200);
  });

  test('states the current operator and allowed registries', async () => {
    let info: ServiceInfo = { ...INFO, operator: { name: 'A & "B" <C>', contact: 'https://a.example/?b&c' } };
    await using server = await startServer({ info: () => info });
    const { html } = await pageOf(server);
    assert.ok(html.includes('Run by A &amp; &quot;B&quot; &lt;C&gt;.'), html);
    assert.ok(html.includes('<a href="https://a.example/?b&amp;c">Contact</a>'), html);
    assert.ok(html.includes('<bdi id="patterns">all registries</bdi>'), html);
    info = {
      ...INFO,
      operator: { name: null, contact: null },
      allowed: ['ghcr.io/**'],
      denied: ['ghcr.io/a/*'],
    };
    const { html: later } = await pageOf(server);
    assert.ok(later.includes('<bdi id="patterns">ghcr.io; except ghcr.io/a</bdi>'), later);
    assert.doesNotMatch(later, /Run by|Contact/);
  });

  test('writes no globs, but the names of registries and repositories', async () => {
    const allowed = ['docker.io/**', 'gcr.io/**', '*.gcr.io/**', 'docker.io/library/*', '127.0.0.1:*/a-*/**'];
    await using server = await startServer({ info: () => ({ ...INFO, allowed, denied: ['**/secret'] }) });
    const { html } = await pageOf(server);
    const [, shown = ''] = /<bdi id="patterns">([^<]+)</.exec(html) ?? [];
    assert.equal(shown, 'Docker Hub, gcr.io, docker.io/library, 127.0.0.1:…/a-…; except …/secret');
  });

  test('is sent without comments and indentation, and otherwise as it is', async () => {
    await using server = await sharedServer();
    const { assets } = await pageOf(server);
    for (const name of readdirSync(WEB).filter((file) => /\.(?:js|css)$/.test(file))) {
      const isComment = name.endsWith('.js') ? /^(?:\/?\*|\/\/)/ : /^\/\*/;
      const lines = (text: string) => text.split('\n').map((line) => line.trim());
      const sent = new Set(lines((await server.get(`${assets}/${name}`)).body.toString()));
      const left = [...sent].filter((line) => isComment.test(line));
      assert.deepEqual(left, [], name);
      const code = lines(readFileSync(join(WEB, name), 'utf8')).filter((line) => !isComment.test(line));
      const lost = code.filter((line) => line !== '' && !sent.has(line));
      assert.deepEqual(lost, [], name);
    }
  });

  test('the commands of the start page name this service, and the host of a stranger only for that request', async () => {
    await using server = await sharedServer();
    for (const host of ['dl.example.org', 'dl.example.org:8443']) {
      const { html } = await pageOf(server, '/', { host });
      assert.ok(
        html.includes(`wget --content-disposition 'http://${host}/dl?myimage=python:3.12-slim'`),
        html,
      );
    }
    const { html } = await pageOf(server);
    assert.ok(html.includes("'http://dl.example/dl?"), html);
  });

  test('the page of an image has its name, size, and platform before any script runs', async () => {
    await using server = await sharedServer();
    const { html } = await pageOf(server, '/?image=busybox:1.36');
    assert.match(html, /<title>busybox:1\.36 · DockerProxy</);
    assert.match(html, /<meta property="og:title" content="busybox:1\.36 · DockerProxy">/);
    assert.match(html, /<meta property="og:description" content="10 kB · linux\/amd64 · /);
    assert.match(html, /value="busybox:1\.36"/);
    assert.match(html, /<noscript><section.*href="\/dl\?myimage=busybox:1\.36"/s);
    const hostile = `"><script>alert(1)</script>`;
    const odd = await pageOf(server, `/?image=${encodeURIComponent(hostile)}`);
    assert.ok(!odd.html.includes('<script>alert'), odd.html);
    assert.ok(odd.html.includes('value="&quot;&gt;&lt;script'), odd.html);
  });

  test('the page of an image that cannot be described names it, sends no refused request, and links to the download', async () => {
    const described: string[] = [];
    const catalogue = {
      describe: async ({ reference }: DetailsRequest) => {
        described.push(formatReference(reference));
        throw new Error('unavailable');
      },
    };
    await using server = await startServer({ allow: ['docker.io/library/*'], catalogue });
    for (const [asked, link] of [
      ['busybox', '/dl?myimage=busybox'],
      ['evil.example/app', undefined],
      ['a+b', undefined],
      ['busybox&image=nginx:1.27', '/dl?myimage=busybox&amp;myimage=nginx:1.27'],
      [
        'busybox&format=oci&platform=all&referrers=1&lang=en&compress=gzip',
        '/dl?myimage=busybox&amp;platform=all&amp;format=oci&amp;referrers=1',
      ],
      ['busybox&parts=1GiB', '/dl?myimage=busybox&amp;parts=1GiB&amp;part=1'],
    ] as const) {
      const { html } = await pageOf(server, `/?image=${asked}&image=`);
      assert.match(html, /<meta property="og:title" content="[^"]+ · DockerProxy">/, asked);
      const [, href] = /<noscript><section(?:(?!<\/section)[\s\S])*?href="(.*?)"/.exec(html) ?? [];
      assert.equal(href, link);
    }
    assert.deepEqual(described, ['docker.io/library/busybox:latest']);
  });

  test('without scripts, the page of a refused image states the problem, and links to similar tags', async () => {
    const catalogue = {
      describe: async () => {
        const members = { repository: 'busybox', tag: '1.366', similarTags: ['1.36', '"><i>'] };
        throw new ServiceError('tag-not-found', detail('failure-internal', {}), { members });
      },
    };
    await using server = await startServer({ allow: ['docker.io/library/*'], catalogue });
    const folder = join(import.meta.dirname, '../../../web/problems');
    const texts = JSON.parse(readFileSync(join(folder, 'es.json'), 'utf8')) as Record<string, string>;
    const [spanish = ''] = texts['tag-not-found']?.split(' | ') ?? [];
    for (const [path, title] of [
      ['/?image=busybox:1.366', 'The image does not have this tag.'],
      ['/?image=busybox:1.366&lang=es', spanish],
      ['/?image=evil.example/app', 'This image cannot be fetched here.'],
      ['/?image=a+b', 'This is not a valid image name.'],
    ] as const) {
      const { html } = await pageOf(server, path);
      assert.ok(html.includes(`<p class="wrong">${title}</p>`), html);
      assert.ok(!html.includes('href="/dl?'), html);
    }
    const { html } = await pageOf(server, '/?image=busybox:1.366');
    assert.ok(html.includes('href="/?image=busybox:1.36">1.36</a>'), html);
    assert.ok(html.includes('&quot;&gt;&lt;i&gt;</a>'), html);
  });

  test('a short link redirects browsers to the page of its image, and hides no other address', async () => {
    await using server = await sharedServer();
    const browser = { accept: 'text/html,*/*' };
    for (const [path, location] of [
      ['/python:3.12-slim', '/?image=python:3.12-slim'],
      ['/busybox', '/?image=busybox'],
      ['/ghcr.io/org/app:1?platform=linux/arm64', '/?image=ghcr.io/org/app:1&platform=linux/arm64'],
      [`/a/b@sha256:${'0'.repeat(64)}`, `/?image=a/b@sha256:${'0'.repeat(64)}`],
    ] as const) {
      const answer = await server.get(path, browser);
      assert.equal(answer.status, 302, path);
      assert.equal(answer.header('location'), location);
    }
    for (const path of [
      ...['/favicon.ico', '/robots.txt', '/dl/x', '/api/v1/nothing', '/api/x', '/v2x/', '/assets/x/y'],
      ...['//evil.example', '/A/B', '/.well-known/nothing', '/wp-login.php', '/healthz/a', '/%2e%2e/x'],
    ])
      assert.notEqual((await server.get(path, browser)).status, 302, path);
    assert.equal((await server.get('/busybox')).status, 404);
    assert.equal((await server.get('/dl', browser)).status, 400);
  });

  test('offers the formats of the source, and tells which files take time', async () => {
    const optionsOf = (html: string) =>
      [...(html.split('id="format"')[1] ?? '').matchAll(/<option value="([\w-]+)">/g)].map(([, one]) => one);
    await using registry = await sharedServer();
    const composed = (await pageOf(registry)).html;
    assert.deepEqual(optionsOf(composed), FORMAT_NAMES);
    assert.match(composed, /"slowFormats":\["rootfs","docker-classic"\]/);
    assert.match(composed, /"prepares":false/);
    await using engine = await startServer({ traits: { formats: ['docker'], preparesArchives: true } });
    const prepared = (await pageOf(engine)).html;
    assert.deepEqual(optionsOf(prepared), ['docker']);
    assert.match(prepared, /"prepares":true/);
  });

  test('its assets are cached forever, under a hash of their content', async () => {
    await using server = await sharedServer();
    const { html, assets } = await pageOf(server);
    const named = [...html.matchAll(/(?:src|href)="(\/assets[^"]+)"/g)].map(([, path = '']) => path);
    assert.ok(named.length >= 4, html);
    for (const path of named) {
      assert.ok(path.startsWith(`${assets}/`), path);
      const answer = await server.get(path);
      assert.equal(answer.status, 200, path);
      assert.equal(answer.header('cache-control'), 'public, max-age=31536000, immutable');
      assert.ok(answer.header('etag'));
    }
    assert.equal(problemOf(await server.get('/assets/other-hash/app.js')).code, 'route-not-found');
  });

  test('files for developers are not served', async () => {
    await using server = await sharedServer();
    const { assets } = await pageOf(server);
    for (const name of [
      'tsconfig.json',
      'portal.d.ts',
      'index.html',
      'languages/en.json',
      'strings/en.json',
      'problems/en.json',
      '',
      '..%2fpackage.json',
    ]) {
      assert.equal((await server.get(`${assets}/${name}`)).status, 404, name);
    }
  });

  test('pages and assets were compressed before they are asked for', async () => {
    await using server = await sharedServer();
    const { assets } = await pageOf(server);
    for (const path of [
      '/',
      '/?lang=fa',
      '/api',
      '/openapi.json',
      `${assets}/app.js`,
      `${assets}/portal.css`,
    ]) {
      const identity = await server.get(path);
      assert.equal(identity.header('content-encoding'), undefined);
      for (const [accepted, encoding] of [
        ['gzip, br', 'br'],
        ['gzip;q=1, br;q=0.1', 'br'],
        ['gzip, deflate', 'gzip'],
        ['br;q=0, *', 'gzip'],
      ] as const) {
        const headers = { 'accept-encoding': accepted };
        const { header, body } = await server.get(path, headers);
        assert.equal(header('content-encoding'), encoding, path);
        // A text that is compressed while it is sent has no length.
        assert.equal(header('content-length'), `${body.length}`);
        assert.match(header('vary') ?? '', /accept-encoding/);
        const unpacked = encoding === 'br' ? brotliDecompressSync(body) : gunzipSync(body);
        assert.deepEqual(unpacked, identity.body);
        const known = await server.get(path, { ...headers, 'if-none-match': `${header('etag')}` });
        assert.deepEqual([known.status, known.body.length], [304, 0]);
        assert.equal(known.header('etag'), identity.header('etag'));
        const head = await server.send('HEAD', path, headers);
        assert.equal(head.header('content-length'), header('content-length'));
      }
    }
  });

  test('it is sent compressed, and downloads never are', async () => {
    await using server = await sharedServer();
    const { html, assets } = await pageOf(server);
    const brotli = await server.get('/', { 'accept-encoding': 'gzip, br' });
    assert.equal(brotli.header('content-encoding'), 'br');
    assert.equal(brotliDecompressSync(brotli.body).toString(), html);
    const gzip = await httpCall(`http://127.0.0.1:${server.port}${assets}/app.js`, {
      headers: { 'accept-encoding': 'gzip' },
    });
    assert.equal(gzip.headers['content-encoding'], 'gzip');
    assert.match(gunzipSync(gzip.body).toString(), /^import /);
    const archive = await server.get('/dl?myimage=busybox', { 'accept-encoding': 'gzip, br' });
    assert.equal(archive.header('content-encoding'), undefined);
    assert.equal(archive.header('content-length'), `${archive.body.length}`);
  });

  for (const lang of LANGUAGES) {
    test(`everything that a visitor gets in ${lang} is small, also where the operator has set nothing`, async () => {
      const info = { ...INFO, allowed: PUBLIC_REGISTRIES.map(({ glob }) => glob) };
      await using server = await startServer({ info: () => info });
      const page = `/?lang=${lang}&image=a`;
      const { assets } = await pageOf(server, page);
      const names = [...modulesFrom('app.js'), 'theme.js', 'portal.css'];
      assert.ok(names.length > 12, `${names}`);
      for (const [encoding, limit] of Object.entries(BUDGET)) {
        const sizes: Record<string, number> = {};
        for (const path of [page, ...names.map((name) => `${assets}/${name}`)])
          sizes[path] = (await server.get(path, { 'accept-encoding': encoding })).body.length;
        const total = Object.values(sizes).reduce((sum, size) => sum + size, 0);
        assert.ok(total <= limit, `${total} bytes in ${encoding}: ${JSON.stringify(sizes)}`);
      }
    });
  }

  test('nothing in it comes from elsewhere, and nothing is inline', async () => {
    await using server = await sharedServer();
    const { html } = await pageOf(server);
    assert.doesNotMatch(html, /(?:src|href)="(?:https?:)?\/\//);
    assert.doesNotMatch(html, /<style|\sstyle=|\son\w+=|<script(?![^>]* src=)/);
  });
});

suite('the page of the API', { timeout: 600_000 }, () => {
  test('describes every route and every error, with no script except that of the theme', async () => {
    await using server = await sharedServer();
    const answer = await server.get('/api');
    assert.equal(answer.status, 200);
    assert.match(answer.header('content-type') ?? '', /^text\/html/);
    const html = answer.body.toString();
    const document = JSON.parse((await server.get('/openapi.json')).body.toString()) as { paths: object };
    for (const path of Object.keys(document.paths)) assert.ok(html.includes(`GET ${path}<`), path);
    const lines = html.match(/<pre class="sample"><code>curl /g) ?? [];
    assert.equal(lines.length, Object.keys(document.paths).length, 'each route has a line to run');
    for (const { code } of listErrors()) assert.ok(html.includes(`<code>${code}</code>`), code);
    assert.doesNotMatch(html, /<script(?! src="\/assets\/[\w-]+\/theme.js">)|<style|undefined|\[object/);
    assert.equal((await server.get('/api', { 'if-none-match': answer.header('etag') ?? '' })).status, 304);
  });

  test('its links can be followed', async () => {
    await using server = await sharedServer();
    const html = (await server.get('/api')).body.toString();
    const links = [...html.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, path = '']) => path);
    assert.ok(links.length > 20);
    for (const path of new Set(links)) {
      const isThere = path.startsWith('#')
        ? html.includes(`id="${path.slice(1)}"`)
        : (await server.get(path)).status === 200;
      assert.ok(isThere, path);
    }
  });
});
