import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { suite, test } from 'node:test';

const root = join(import.meta.dirname, '..', '..');
const documents = globSync(['*.md', 'docs/**/*.md', 'deploy/**/*.md', 'src/**/README.md'], {
  cwd: root,
}).sort();

const read = (document: string): string => readFileSync(join(root, document), 'utf8');

/** Returns the text of a document without its code, because brackets in code are not links. */
function prose(document: string): string {
  return read(document)
    .replace(/^ *```[\s\S]*?^ *```$/gm, '')
    .replace(/`[^`\n]*`/g, (code) => code.replaceAll(/[[\]()<>]/g, ''));
}

/** Returns the relative targets of links and images. */
function localTargets(document: string): string[] {
  const text = prose(document);
  const inline = text.matchAll(/\]\(([^)\s]+)(?: "[^"]*")?\)/g);
  const html = text.matchAll(/<(?:a|img)\s[^>]*?(?:href|src)="([^"]*)"/g);
  const defined = text.matchAll(/^\[[^\]]+\]: (\S+)/gm);
  return [...inline, ...html, ...defined]
    .map(([, target = '']) => target)
    .filter((target) => !/^(?:https?|mailto):/.test(target));
}

/** Returns the anchors of headings, in GitHub's format. */
function anchors(document: string): Set<string> {
  const seen = new Map<string, number>();
  const slugs = [...prose(document).matchAll(/^#{1,6} +(.+)$/gm)].map(([, heading = '']) => {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M} _-]/gu, '')
      .replaceAll(' ', '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return count === 0 ? slug : `${slug}-${count}`;
  });
  return new Set(slugs);
}

function resolveTarget(document: string, target: string): { path: string; anchor: string } {
  const [path = '', anchor = ''] = target.split('#');
  return { path: path === '' ? document : join(dirname(document), path), anchor };
}

/** Returns the problems of a document's links; empty if all links work. */
function brokenLinks(document: string): string[] {
  return localTargets(document).flatMap((target) => {
    const { path, anchor } = resolveTarget(document, target);
    if (relative('.', path).startsWith('..')) return [`${target} leaves the repository`];
    if (!existsSync(join(root, path))) return [`${target} does not exist`];
    if (anchor === '') return [];
    return anchors(path).has(anchor) ? [] : [`${target} names no heading`];
  });
}

suite('links', () => {
  for (const document of documents) {
    test(`${document} links to files and headings that exist`, () => {
      assert.deepEqual(brokenLinks(document), []);
    });
  }

  test('README links to every page of docs', () => {
    const linked = new Set(localTargets('README.md').map((target) => target.split('#')[0]));
    const pages = documents.filter((document) => document.startsWith('docs/'));
    assert.deepEqual(
      pages.filter((page) => !linked.has(page)),
      [],
    );
  });

  test('the npm package and the release contain the targets of README and docs', () => {
    const { files } = JSON.parse(read('package.json')) as { files: string[] };
    const [, copied = ''] = /^\tfor part in (.*); do$/m.exec(read('deploy/release.sh')) ?? [];
    // npm always includes these files.
    const packed = new Set([...files, 'README.md', 'LICENSE', 'package.json']);
    const released = new Set(copied.split(' '));
    const pages = documents.filter((document) => /^(?:README|docs\/)/.test(document));
    assert.ok(pages.length > 10);
    for (const page of pages) {
      for (const target of localTargets(page)) {
        const [first = ''] = resolveTarget(page, target).path.split('/');
        assert.ok(packed.has(first), `${page}: package.json lacks ${target}`);
        assert.ok(released.has(first), `${page}: deploy/release.sh lacks ${target}`);
      }
    }
  });

  test('SECURITY names tests that exist', () => {
    const named = [...read('SECURITY.md').matchAll(/`([\w/-]+\.(?:test|deploy|cluster)\.ts)`/g)];
    assert.ok(named.length > 50);
    for (const [, path = ''] of named) assert.ok(existsSync(join(root, 'test', path)), path);
  });

  test('README has at most 9,000 bytes', () => {
    assert.ok(statSync(join(root, 'README.md')).size <= 9000);
  });
});
