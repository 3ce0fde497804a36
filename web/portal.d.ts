import type { PageData } from '../src/http/portal-page.ts';
import type { Problem as ProblemDetails } from '../src/http/problem-schema.ts';
import type { ImageDetails } from '../src/http/routes/image.ts';
import type { SearchResults } from '../src/http/routes/search.ts';
import type { TagPage } from '../src/http/routes/tags.ts';

/** The types and the documentation of the page's modules, here because a visitor does not need them. */
declare global {
	namespace Portal {
		type Problem = Partial<ProblemDetails>;
		type Image = ImageDetails;
		/** What the page has in it for its modules. */
		type Data = PageData;
		type Quota = { limit: number; remaining: number };
		type Limits = {
			requests: Quota | null;
			downloads: { limit: number; active: number } | null;
			bytes: Quota | null;
		};
		type Answers = { image: Image; tags: TagPage; search: SearchResults; limits: Limits };

		/** Asks the API of this service. @throws Refusal */
		type Ask = <Name extends keyof Answers>(
			name: Name,
			query?: Record<string, string>,
			signal?: AbortSignal,
		) => Promise<Answers[Name]>;
		/** A request whose answer is no refusal. @throws Refusal */
		type Request = (url: string, options?: RequestInit) => Promise<Response>;
		/** The headers that a download will have, or why it will be refused. @throws Refusal */
		type Peek = (url: string, signal: AbortSignal) => Promise<Headers>;

		/** What someone meant by a text: images as people write them, in lower case but for the tag. */
		interface Pasted {
			images: string[];
			platform?: string;
			problem?: 'digest' | 'unreadable';
		}
		/** Reads names, commands, lines of a Dockerfile or a YAML file, and addresses of web pages. */
		type ParsePaste = (text: string) => Pasted;

		interface Download {
			images: string[];
			/** Empty: what the server takes for it. */
			platform: string;
			format: string;
		}
		/** The path and query of a download, without what the server takes for granted. */
		type DownloadUrl = (download: Download) => string;
		/** Lines for a terminal, by tool; each goes on where it broke off, if it can. */
		type FetchCommands = (url: string, file: string, format: string) => Record<string, string>;
		/** Lines that load the file, one a tool. */
		type LoadCommands = (file: string, format: string) => string;

		/** One thing to choose. */
		interface Option {
			label: string;
			note?: string;
			choose(): void;
		}
		/** A list below a field: arrows move, Enter chooses, Escape closes. */
		type Suggest = (
			input: HTMLInputElement,
			list: HTMLElement,
			load: (text: string, signal: AbortSignal) => Promise<Option[]>,
		) => { ask(): void; close(): void; show(options: Option[], active?: number): void };
		/** Finds what could stand at the end of a text: tags behind a colon, repositories before it. */
		type Find = (
			text: string,
			signal: AbortSignal,
			how: { search: boolean; fill(text: string): void; show(options: Option[], active: number): void },
		) => Promise<Option[]>;

		/** A text in the language of the page, with values put in. */
		type Text = (key: string, values?: Record<string, string | number>) => string;
		/** Shows what went wrong and what to do, and when that makes sense; gives what happened, in one sentence. */
		type ShowProblem = (
			problem: Problem,
			actions: { retry(): void; choose(platform: string): void },
		) => string;
		/** Follows an archive that an engine has to make, and downloads it when it is there. @throws Refusal */
		type Watch = (url: string) => Promise<void>;

		/** Has the checksum of a download computed, which may take long, and shows it for as long as that is the download. */
		type ShowChecksum = (url: string, say: (text: string) => void) => Promise<void>;

		/** A button that does something here, which is not to send a form. */
		type MakeButton = (text: string, onclick: () => void) => HTMLButtonElement;
		interface Elements {
			image: HTMLInputElement;
			platform: HTMLSelectElement;
			format: HTMLSelectElement;
			pin: HTMLInputElement;
			download: HTMLAnchorElement;
			metalink: HTMLAnchorElement;
			bar: HTMLProgressElement;
			card: HTMLTemplateElement;
			data: HTMLTemplateElement;
		}
		/** An element of the page, which has it. */
		type ById = <Id extends string>(id: Id) => Id extends keyof Elements ? Elements[Id] : HTMLElement;
		/** An element with properties. */
		type Make = <Tag extends keyof HTMLElementTagNameMap>(
			tag: Tag,
			properties?: object,
		) => HTMLElementTagNameMap[Tag];
		/** What is known of an image, as a card. */
		type MakeCard = (image: Image, remove: (() => void) | undefined) => DocumentFragment;
		/** Offers what all the images are there for. */
		type FillPlatforms = (select: HTMLElement, images: Image[]) => void;
		/** Lines to copy, for the tool that was chosen last. */
		type ShowCommands = (url: string, file: string, format: string) => void;
	}
}
