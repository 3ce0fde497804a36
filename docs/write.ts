/** Writes the documents that are made from the schema of the settings. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exampleFile, referencePage } from '../src/config/reference.ts';

const root = join(import.meta.dirname, '..');
writeFileSync(join(root, 'docs', 'configuration.md'), referencePage());
writeFileSync(join(root, 'deploy', 'dockerproxy.example.toml'), exampleFile());
