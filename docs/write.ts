/** Writes the documents that are generated: from the schema of the settings, and from the imports in src/. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exampleFile, referencePage } from '../src/config/reference.ts';
import { withDrawing } from './import-graph.ts';

const root = join(import.meta.dirname, '..');
const architecture = join(root, 'docs', 'architecture.md');
writeFileSync(join(root, 'docs', 'configuration.md'), referencePage());
writeFileSync(join(root, 'deploy', 'dockerproxy.example.toml'), exampleFile());
writeFileSync(architecture, withDrawing(readFileSync(architecture, 'utf8')));
