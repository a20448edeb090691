// Drives a running server through Medusa's own client, as an application would. Settings come from the environment: BASE,
// STRICT (a server that wants addresses proved, and whose
// registering tells nobody who is known), ADMIN_EMAIL, ADMIN_PASSWORD and MAIL, the file that mails are appended to. Each step is a line; the first that fails ends it.

import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { setTimeout as sleep } from "node:timers/promises"

const { default: Medusa, FetchError } = createRequire(import.meta.url)("@medusajs/js-sdk")
const { BASE, STRICT, ADMIN_EMAIL, ADMIN_PASSWORD, MAIL } = process.env
const password = "correct horse", another = "battery staple"
let steps = 0

async function step(name, run) {
  try {
    await run()
  } catch (e) {
    console.error(`not ok - ${name}`)
    throw e
  }
  steps++
  console.log(`ok - ${name}`)
}

// A browser keeps cookies; Node's fetch does not. Each client has a jar of its own.
const fetched = globalThis.fetch
function client(type, base = BASE) {
  const jar = {}
  const sdk = new Medusa({ baseUrl: base, auth: { type, jwtTokenStorageMethod: "memory" } })
  return new Proxy({}, { get: (_, name) => name === "jar" ? jar : name === "as" ? as : sdk[name] })
  async function as(run) { // with this client's cookies
    globalThis.fetch = async (input, init = {}) => {
      const headers = new Headers(init.headers)
      if (init.credentials === "include" && jar.cookie) headers.set("cookie", jar.cookie)
      const answer = await fetched(input, { ...init, headers })
      for (const set of answer.headers.getSetCookie()) {
        const pair = set.split(";")[0]
        jar.cookie = /expires=thu, 01 jan 1970/i.test(set) ? undefined : pair
      }
      return answer
    }
    try { return await run(sdk) } finally { globalThis.fetch = fetched }
  }
}

async function refused(status, message, promise) {
  const e = await promise.then(() => assert.fail("it was not refused"), e => e)
  assert.ok(e instanceof FetchError, String(e))
  assert.equal(e.status, status, e.message)
  if (message) assert.equal(e.message, message)
}

const fields = o => Object.keys(o)
const userFields = ["id", "first_name", "last_name", "email", "avatar_url", "metadata", "created_at", "updated_at", "deleted_at"]
const inviteFields = ["id", "email", "accepted", "token", "expires_at", "metadata", "created_at", "updated_at", "deleted_at"]

// mailed waits for the mail to an address whose text matches, and returns the token of its link.
async function mailed(to, subject) {
  for (let tries = 0; tries < 200; tries++, await sleep(50)) {
    let text = ""
    try { text = readFileSync(MAIL, "utf8") } catch { continue }
    const mail = text.split("\n").filter(Boolean).map(line => JSON.parse(line)).findLast(m => m.to === to && m.subject.includes(subject))
    if (mail) return new URL(mail.text.match(/http\S+/)[0]).searchParams.get("token")
  }
  assert.fail(`no mail to ${to}`)
}

const admin = client("jwt")
for (const type of ["jwt", "session"]) {
  const at = name => `${name}.${type}@example.com`
  const sdk = client(type)
  const a = f => admin.as(f), u = f => sdk.as(f)

  await step(`${type}: the providers are listed`, () => u(async s => {
    const { providers } = await s.auth.listProviders("user")
    assert.deepEqual(providers, [{ id: "emailpass", identifier: "emailpass", display_name: "Email/Password Authentication", flow: "credentials" }])
  }))
  await step(`${type}: nobody is refused before signing in`, () => u(s => refused(401, "Unauthorized", s.admin.user.me())))
  await step(`${type}: an admin signs in`, () => a(async s => {
    assert.match(await s.auth.login("user", "emailpass", { email: ADMIN_EMAIL, password: ADMIN_PASSWORD }), /^eyJ/)
    const { user } = await s.admin.user.me()
    assert.deepEqual(fields(user), userFields)
    assert.equal(user.email, ADMIN_EMAIL)
  }))
  await step(`${type}: somebody registers, signs in and is a user`, () => u(async s => {
    assert.match(await s.auth.register("user", "emailpass", { email: at("ada"), password }), /^eyJ/)
    await refused(401, "Identity with email already exists", s.auth.register("user", "emailpass", { email: at("ada"), password: another }))
    await refused(401, "Invalid email or password", s.auth.login("user", "emailpass", { email: at("ada"), password: another }))
    assert.match(await s.auth.login("user", "emailpass", { email: at("ada"), password }), /^eyJ/)
    assert.equal((await s.admin.user.me()).user.email, at("ada"))
    assert.equal((await s.admin.user.me({ fields: "email,+roles" })).user.roles[0], "member")
    await refused(403, "Forbidden", s.admin.user.list())
  }))
  await step(`${type}: a token is refreshed`, () => u(async s => {
    const { token } = await s.auth.refresh()
    assert.match(token, /^eyJ/)
    assert.equal((await s.admin.user.me()).user.email, at("ada"))
  }))
  let ada
  await step(`${type}: users are listed, found and paged`, () => a(async s => {
    const { users, count, offset, limit } = await s.admin.user.list({ q: at("ada"), limit: 1, offset: 0, order: "-created_at", fields: "id,email" })
    assert.deepEqual([users.length, count, offset, limit, fields(users[0])], [1, 1, 0, 1, ["id", "email"]])
    ada = users[0].id
    assert.equal((await s.admin.user.list({ id: [ada], email: at("ada") })).count, 1)
    assert.equal((await s.admin.user.list({ created_at: { $gte: "2020-01-01T00:00:00Z" }, q: at("ada") })).count, 1)
    assert.equal((await s.admin.user.list({ created_at: { $lt: "2020-01-01T00:00:00Z" } })).count, 0)
    await refused(400, undefined, s.admin.user.list({ order: "shoe_size" }))
    await refused(400, undefined, s.admin.user.list({ limit: -1 }))
  }))
  await step(`${type}: a user is retrieved and changed`, () => a(async s => {
    assert.deepEqual(fields((await s.admin.user.retrieve(ada)).user), userFields)
    let { user } = await s.admin.user.update(ada, { first_name: "Ada", metadata: { a: 1, b: "x" } })
    assert.deepEqual([user.first_name, user.metadata], ["Ada", { a: 1, b: "x" }])
    user = (await s.admin.user.update(ada, { first_name: null, metadata: { b: "" } })).user
    assert.deepEqual([user.first_name, user.metadata], [null, { a: 1 }])
    await refused(404, "User with id: user_none was not found", s.admin.user.retrieve("user_none"))
    await refused(404, 'User with id "user_none" not found', s.admin.user.update("user_none", { first_name: "x" }))
  }))
  await step(`${type}: the ways to sign in of a user are listed`, () => a(async s => {
    assert.deepEqual(await s.admin.user.listAuthProviders(ada), { providers: ["emailpass"] })
    assert.deepEqual(await s.admin.user.listAuthProviders("user_none"), { providers: [] })
  }))
  await step(`${type}: roles are added, listed and removed`, () => a(async s => {
    const names = ({ roles }) => roles.map(r => r.id).sort()
    assert.deepEqual(names(await s.admin.user.listRoles(ada)), ["member"])
    assert.deepEqual(names(await s.admin.user.addRoles(ada, { roles: ["editor", "writer"] })), ["editor", "member", "writer"])
    assert.equal((await s.admin.user.removeRole(ada, "editor")).deleted, true)
    assert.deepEqual(await s.admin.user.removeRoles(ada, { roles: ["writer"] }), { ids: ["writer"], object: "user_role", deleted: true })
    assert.deepEqual(names(await s.admin.user.listRoles(ada)), ["member"])
  }))
  await step(`${type}: an address is verified by mail, once, and only one's own`, () => u(async s => {
    const ask = entity_id => s.auth.verification.request({ entity_id, entity_type: "email", metadata: { page: "profile" } })
    const { verification } = await ask(at("ada"))
    assert.deepEqual([verification.entity_id, verification.entity_type, verification.code_provider, verification.verified_at], [at("ada"), "email", "token", null])
    assert.equal(JSON.stringify(verification).includes("hash"), false)
    await refused(400, undefined, ask(ADMIN_EMAIL))
    const code = await mailed(at("ada"), "Confirm your e-mail address")
    const done = await s.auth.verification.confirm({ code })
    assert.deepEqual([done.entity_id, done.entity_type, done.code_provider], [at("ada"), "email", "token"])
    assert.ok(Date.parse(done.verified_at))
    await refused(400, "Verification code is invalid or already used", s.auth.verification.confirm({ code, code_provider: "token" }))
    assert.ok((await s.admin.user.me({ fields: "+email_verified_at" })).user.email_verified_at)
  }))
  await step(`${type}: who is not signed in verifies nothing`, () => client(type).as(s =>
    refused(401, "Sign in as who asked for the verification, then confirm it.", s.auth.verification.confirm({ code: "any" }))))
  await step(`${type}: a forgotten password is reset by mail, once`, () => u(async s => {
    await s.auth.resetPassword("user", "emailpass", { identifier: at("ada") })
    await s.auth.resetPassword("user", "emailpass", { identifier: "nobody@example.com" })
    const token = await mailed(at("ada"), "new password")
    await refused(400, "Password is too short: at least 8 characters", s.auth.updateProvider("user", "emailpass", { password: "short" }, token))
    await s.auth.updateProvider("user", "emailpass", { password: another }, token)
    await refused(401, "Invalid token", s.auth.updateProvider("user", "emailpass", { password }, token))
    await refused(401, "Unauthorized", s.admin.user.me())
    await s.auth.login("user", "emailpass", { email: at("ada"), password: another })
    assert.ok((await s.admin.user.me({ fields: "+email_verified_at" })).user.email_verified_at)
  }))
  await step(`${type}: an admin has a link mailed and sees none`, () => a(async s => {
    assert.deepEqual(await s.admin.user.generateResetPasswordToken(ada), { token: "" })
    await refused(404, "User with id: user_none was not found", s.admin.user.generateResetPasswordToken("user_none"))
  }))
  await step(`${type}: a provider without a callback says so`, () => u(s =>
    refused(401, "Callback authentication not implemented for provider emailpass", s.auth.callback("user", "emailpass", { code: "x" }))))

  let invite
  await step(`${type}: somebody is invited`, () => a(async s => {
    invite = (await s.admin.invite.create({ email: at("grace"), metadata: { team: "blue" } })).invite
    assert.deepEqual(fields(invite), inviteFields)
    assert.deepEqual((await s.admin.invite.retrieve(invite.id)).invite, invite)
    await refused(400, `Invite with email: ${at("grace")}, already exists.`, s.admin.invite.create({ email: at("grace") }))
    await refused(404, "Invite with id: invite_none was not found", s.admin.invite.retrieve("invite_none"))
  }))
  await step(`${type}: invites are listed`, () => a(async s => {
    assert.deepEqual((await s.admin.invite.list({ email: at("grace") })).invites, [invite])
    assert.equal((await s.admin.invite.list({ q: "grace." + type, limit: 10, offset: 0 })).count, 1)
    assert.equal((await s.admin.invite.list({ $or: [{ email: at("grace") }, { email: "nobody@example.com" }] })).count, 1)
    assert.equal((await s.admin.invite.list({ $and: [{ email: at("grace") }, { email: "nobody@example.com" }] })).count, 0)
  }))
  await step(`${type}: an invite is sent again, and the link of before is dead`, () => a(async s => {
    const again = (await s.admin.invite.resend(invite.id)).invite
    assert.equal(again.id, invite.id)
    assert.notEqual(again.token, invite.token)
    const guest = client(type)
    await guest.as(async g => {
      const registered = await g.auth.register("user", "emailpass", { email: at("grace"), password })
      const accept = invite_token => g.admin.invite.accept({ invite_token }, {}, { Authorization: `Bearer ${registered}` })
      await refused(400, "This invite was renewed. Use the newest link.", accept(invite.token))
    })
    invite = again
  }))
  await step(`${type}: the invited person accepts with the mailed link`, async () => {
    const guest = client(type)
    await a(s => s.admin.invite.create({ email: at("heidi") }))
    const link = await mailed(at("heidi"), "invited")
    await guest.as(async g => {
      const registered = await g.auth.register("user", "emailpass", { email: at("heidi"), password })
      const accept = query => g.admin.invite.accept({ invite_token: link, email: at("heidi"), first_name: "Heidi", last_name: "H" }, query, { Authorization: `Bearer ${registered}` })
      const { user } = await accept({})
      assert.deepEqual([fields(user), user.email, user.first_name], [userFields, at("heidi"), "Heidi"])
      assert.deepEqual((await accept({ fields: "email" })).user, { email: at("heidi"), id: user.id })
      await g.auth.login("user", "emailpass", { email: at("heidi"), password })
      assert.equal((await g.admin.user.list({ id: user.id, fields: "+roles" })).users[0].roles[0], "admin")
      await refused(400, "A user cannot delete itself", g.admin.user.delete(user.id))
    })
  })
  await step(`${type}: an invite is withdrawn`, () => a(async s => {
    assert.deepEqual(await s.admin.invite.delete(invite.id), { id: invite.id, object: "invite", deleted: true })
    await refused(404, undefined, s.admin.invite.retrieve(invite.id))
    await refused(400, `The following invites do not exist: ${invite.id}`, s.admin.invite.resend(invite.id))
  }))
  await step(`${type}: somebody signs out`, () => u(async s => {
    await s.auth.logout()
    await refused(401, "Unauthorized", s.admin.user.me())
  }))
  await step(`${type}: a deleted user is out`, async () => {
    await u(s => s.auth.login("user", "emailpass", { email: at("ada"), password: another }))
    await a(async s => {
      assert.deepEqual(await s.admin.user.delete(ada), { id: ada, object: "user", deleted: true })
      assert.deepEqual(await s.admin.user.delete("user_none"), { id: "user_none", object: "user", deleted: true })
    })
    await u(async s => {
      await refused(401, "Unauthorized", s.admin.user.me())
      await refused(401, "Unauthorized", s.auth.refresh())
      await refused(401, "Invalid email or password", s.auth.login("user", "emailpass", { email: at("ada"), password: another }))
    })
  })
}
for (const type of ["jwt", "session"]) {
  const email = `strict.${type}@example.com`, sdk = client(type, STRICT)
  await step(`${type}: where that is wanted, somebody registers and is nobody before their address is verified`, () => sdk.as(async s => {
    assert.match(await s.auth.register("user", "emailpass", { email: ADMIN_EMAIL, password }), /^eyJ/) // which tells nothing
    await mailed(ADMIN_EMAIL, "You have an account")
    const token = await s.auth.register("user", "emailpass", { email, password })
    await refused(401, "Invalid email or password", s.auth.login("user", "emailpass", { email, password }))
    const code = await mailed(email, "Confirm your e-mail address"), headers = { Authorization: `Bearer ${token}` }
    await refused(401, "Unauthorized", s.admin.user.me({}, headers))
    await s.auth.verification.confirm({ code }, headers)
    await s.auth.login("user", "emailpass", { email, password })
    assert.equal((await s.admin.user.me()).user.email, email)
  }))
  await step(`${type}: a user of before is told to verify their address`, async () => {
    const old = `old.${type}@example.com`
    await client(type).as(async s => {
      await s.auth.register("user", "emailpass", { email: old, password })
      await s.auth.login("user", "emailpass", { email: old, password })
    })
    await sdk.as(async s => {
      const told = await s.auth.login("user", "emailpass", { email: old, password })
      assert.deepEqual([told.verification_required, told.verification.entity_id, typeof told.token], [true, old, "string"])
      await refused(401, "Unauthorized", s.admin.user.me())
      await s.auth.verification.request({ entity_id: old, entity_type: "email" })
      // The newest link counts, and its mail comes last: wait for one that works.
      for (let tries = 0; ; tries++, await sleep(50)) {
        const done = await s.auth.verification.confirm({ code: await mailed(old, "Confirm your e-mail address") }).catch(e => e)
        if (done.verified_at) break
        assert.ok(tries < 100, String(done))
      }
      await s.auth.refresh()
      assert.equal((await s.admin.user.me()).user.email, old)
    })
  })
}
console.log(`${steps} steps`)
