// Signs in by a provider of two steps through Medusa's own client, as a storefront does: with tokens, which send no cookie,
// and with the session cookie. BASE is the server, CALLBACK the page of the storefront. Each step is a line.

import assert from "node:assert/strict"
import { createRequire } from "node:module"

const { default: Medusa, FetchError } = createRequire(import.meta.url)("@medusajs/js-sdk")
const { BASE, CALLBACK } = process.env

// Node's fetch keeps no cookies; a browser does, where the client has it.
const fetched = globalThis.fetch
async function browsing(jar, run) {
  globalThis.fetch = async (input, init = {}) => {
    const headers = new Headers(init.headers)
    const cookies = [...jar].map(([name, value]) => `${name}=${value}`).join("; ")
    if (init.credentials === "include" && cookies) headers.set("cookie", cookies)
    const answer = await fetched(input, { ...init, headers })
    if (init.credentials === "include") {
      for (const set of answer.headers.getSetCookie()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(set)
        jar.set(name, value)
      }
    }
    return answer
  }
  try { return await run() } finally { globalThis.fetch = fetched }
}

for (const type of ["jwt", "session"]) {
  const jar = new Map()
  const sdk = new Medusa({ baseUrl: BASE, auth: { type, jwtTokenStorageMethod: "memory" } })
  await browsing(jar, async () => {
    const begun = await sdk.auth.login("user", "okta", { callback_url: CALLBACK })
    assert.deepEqual(Object.keys(begun), ["location"])
    const at = new URL(begun.location)
    assert.equal(at.searchParams.get("redirect_uri"), CALLBACK)
    const back = { code: `${type}@example.com`, state: at.searchParams.get("state") }
    console.log(`ok - ${type}: login answers the location`)

    assert.equal(typeof await sdk.auth.callback("user", "okta", back), "string")
    console.log(`ok - ${type}: callback answers a token`)

    if (type === "session") {
      assert.ok(jar.has("latchkey-flow"))
    } else {
      assert.equal(jar.size, 0)
      await sdk.auth.refresh()
    }
    const e = await sdk.auth.callback("user", "okta", back).then(() => assert.fail("it was not refused"), e => e)
    assert.ok(e instanceof FetchError && e.status === 401, String(e))
    console.log(`ok - ${type}: once`)
  })
}
