import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { after, before, suite, test } from 'node:test';
import type { Browser } from 'playwright-core';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { image, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { type Registry, registryUser, startRegistry } from '../support/registry.ts';
import { assertAccessible, assertFits, createOpener, savedBy, startChromium, untilShown } from './browser.ts';

suite('a private image on the page', { skip: skipUnless('chromium', 'docker-registry') }, () => {
  const cleanup = new AsyncDisposableStack();
  let chromium: Browser;
  let registry: Registry;
  let proxy: DockerProxy;

  const start = async (credentials: 'on' | 'off'): Promise<DockerProxy> =>
    cleanup.use(
      await startDockerProxy({
        env: {
          DOCKERPROXY_ALLOW: `${registry.host}/**`,
          DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
          DOCKERPROXY_CLIENT_CREDENTIALS: credentials,
        },
      }),
    );

  before(async () => {
    registry = cleanup.use(await startRegistry({ auth: 'htpasswd' }));
    const made = image({
      platform: { os: 'linux', architecture: 'amd64' },
      layers: [await layer({ files: { 'etc/app': 'private' } })],
    });
    await push(registry.url, 'org/app', 'v1', made, { headers: registry.headers });
    proxy = await start('on');
    chromium = await startChromium();
  });
  after(() => cleanup.disposeAsync());

  const open = createOpener(() => ({ chromium, url: proxy.url }));
  const path = (): string => `/?image=${registry.host}/org/app:v1`;

  test('is shown, searched, and downloaded with credentials that stay in the tab', async (t) => {
    const page = await open(t, path());
    const urls: string[] = [];
    page.on('request', (request) => urls.push(request.url()));
    await page.locator('#problem h2').waitFor();
    await page.locator('#private summary').click();
    assert.equal(await page.getByLabel('Registry').inputValue(), registry.host);
    await page.getByLabel('User name').fill(registryUser.name);
    await page.getByLabel('Password or token').fill(registryUser.password);
    await page.getByRole('button', { name: 'Use' }).click();
    await untilShown(page);

    const line = page.locator('#line');
    assert.match(await line.innerText(), /^wget --auth-no-challenge --user=alice --ask-password -c /);
    const tools = await page.locator('#tools label').allInnerTexts();
    assert.ok(tools.includes('podman') && !tools.includes('aria2c'), `${tools}`);
    await page.locator('#tools').getByText('docker', { exact: true }).click();
    assert.match(await line.innerText(), /^wget --auth-no-challenge .* && docker load -i /);
    await page.locator('#tools').getByText('curl', { exact: true }).click();
    assert.match(await line.innerText(), /^curl -u alice -fL .* \|\| .* curl -u alice -sSL /);

    const saved = await savedBy(page.locator('#download'));
    assert.equal(saved.suggestedFilename(), 'org_app_v1.tar');
    assert.ok((await stat(await saved.path())).size > 1000);

    await page.getByText('Advanced', { exact: true }).click();
    await page.locator('#format').selectOption('rootfs');
    await page.locator('#file', { hasText: 'rootfs' }).waitFor();
    const unpacked = await savedBy(page.locator('#download'));
    assert.ok((await stat(await unpacked.path())).size > 1000);
    assert.deepEqual(
      urls.filter((url) => url.includes('/dl/status')),
      [],
    );
    assert.ok(await page.locator('#problem').isHidden());

    await page.locator('#inside > summary').click();
    await page.getByRole('treeitem').first().click();
    await page.getByRole('treeitem', { name: /^app / }).click();
    const file = await savedBy(page.getByRole('link', { name: 'Download file' }));
    assert.equal(file.suggestedFilename(), 'app');

    const html = await page.content();
    const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
    for (const text of [...urls, html, stored, JSON.stringify(proxy.logs())])
      assert.ok(!text.includes(registryUser.password), text);
    await page.reload();
    await page.locator('#problem h2').waitFor();
  });

  test('is not found any more after the credentials are forgotten, or with wrong ones', async (t) => {
    const page = await open(t, path());
    await page.locator('#problem h2').waitFor();
    await page.locator('#private summary').click();
    await page.getByLabel('User name').fill(registryUser.name);
    await page.getByLabel('Password or token').fill('wrong');
    await page.getByRole('button', { name: 'Use' }).click();
    await page.getByText('does not accept the credentials').waitFor();
    await page.getByLabel('Password or token').fill(registryUser.password);
    await page.getByRole('button', { name: 'Use' }).click();
    await untilShown(page);
    await page.getByRole('button', { name: 'Forget' }).click();
    await page.locator('#form button.primary').click();
    await page.locator('#problem h2').waitFor();
  });

  for (const [name, options] of [
    ['private', {}],
    [
      'private-persian-narrow',
      { locale: 'fa-IR', viewport: { width: 320, height: 640 }, colorScheme: 'dark' },
    ],
  ] as const) {
    test(`WCAG 2.2 AA: ${name}`, async (t) => {
      const page = await open(t, '/', options);
      await page.locator('#private summary').click();
      await page.locator('#private input').first().waitFor();
      await assertAccessible(page, name);
      await assertFits(page);
    });
  }

  test('has no fold-out where the service takes no credentials', async (t) => {
    const off = await start('off');
    const page = await createOpener(() => ({ chromium, url: off.url }))(t, '/');
    assert.equal(await page.locator('#private').count(), 0);
  });
});
