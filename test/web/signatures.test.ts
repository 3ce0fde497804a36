import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { createSigner, signatureTag, signed } from '../support/signatures.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { startBed } from './bed.ts';
import { assertAccessible, assertFits, createOpener, startChromium, untilShown } from './browser.ts';

suite('the page of a service with a policy', {
  skip: skipUnless('chromium', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  test('tells which images are signed, unsigned, not checked, and why one is refused', async (t) => {
    await using folder = await temporaryFolder();
    await using signer = await createSigner();
    const policy = join(folder.path, 'policy.toml');
    await writeFile(
      policy,
      `[[rules]]
       images = ["127.0.0.1:*/library/*"]
       keys = ["${signer.publicKey}"]
       [[rules]]
       images = ["127.0.0.1:*/test/shared"]
       require = "none"
       keys = ["${signer.publicKey}"]`,
    );
    await using bed = await startBed({ DOCKERPROXY_POLICY: policy });
    const { digest } = bed.images.busybox.descriptor;
    await push(bed.registry.url, 'library/busybox', signatureTag(digest), await signed(signer, digest));
    const chromium = await startChromium();
    const open = createOpener(() => ({ chromium, url: bed.url }));
    const path = (name: string): string => `/?image=${bed.registry.host}/${name}`;

    for (const [name, state] of [
      ['library/busybox', 'signed\nteam'],
      ['test/shared:1', 'unsigned'],
      ['test/zstd', undefined],
    ] as const) {
      const page = await open(t, path(name));
      await untilShown(page);
      await page.locator('#details summary').click();
      const shown = page.locator('[data-is=signature]');
      assert.deepEqual(await shown.allInnerTexts(), state === undefined ? [] : [state]);
    }
    for (const locale of ['en-GB', 'fa-IR']) {
      const shown = await open(t, path('library/busybox'), { locale });
      await untilShown(shown);
      await shown.locator('#details summary').click();
      await assertAccessible(shown, `signed-${locale}`);
    }

    const page = await open(t, path('library/busybox:1.35'));
    await page.getByRole('heading', { name: 'This image is not signed.' }).waitFor();
    await page
      .getByText('library/busybox:1.35 is not signed. This service requires a signature by: team.')
      .waitFor();
    assert.equal(await page.locator('#download').isVisible(), false);
    await assertAccessible(page, 'refused-unsigned');
    await assertFits(page);
  });
});
