package oidc

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// lacks reports whether claims are missing that the issuer was asked for, or that decide something, and that userinfo may have.
func (p *Provider) lacks(claims map[string]any) bool {
	if slices.Contains(p.config.Scopes, "email") && (text(claims, "email") == "" || claims["email_verified"] == nil && len(p.config.TrustedDomains) > 0) {
		return true
	}
	if slices.Contains(p.config.Scopes, "profile") && text(claims, p.config.ClaimName) == "" && text(claims, p.config.ClaimFirstName) == "" {
		return true
	}
	return slices.ContainsFunc(p.config.MetadataClaims, func(name string) bool { return claims[name] == nil })
}

// merged are the claims of the ID token, and what userinfo adds. What it says of an address is taken whole, because that it
// is verified says nothing of another one.
func merged(token, userinfo map[string]any) map[string]any {
	all := maps.Clone(userinfo)
	maps.Copy(all, token)
	of := token
	if text(token, "email") == "" || token["email_verified"] == nil && text(userinfo, "email") != "" && userinfo["email_verified"] != nil {
		of = userinfo
	}
	all["email"], all["email_verified"] = of["email"], of["email_verified"]
	return all
}

// profile is what the issuer says of the person, and how far it is believed.
func (p *Provider) profile(claims map[string]any) auth.Profile {
	f := auth.Profile{
		Email: text(claims, "email"), EmailVerified: p.vouches(claims),
		Name: text(claims, p.config.ClaimName), FirstName: text(claims, p.config.ClaimFirstName), LastName: text(claims, p.config.ClaimLastName),
	}
	if u, err := url.Parse(text(claims, p.config.ClaimPicture)); err == nil && u.Scheme == "https" && u.Host != "" {
		f.AvatarURL = u.String()
	}
	f.Metadata = p.metadata(claims, f)
	return f
}

// vouches reports whether the issuer says that the address is verified, and is believed. Some issuers write true as a text.
func (p *Provider) vouches(claims map[string]any) bool {
	said := claims["email_verified"] == true || claims["email_verified"] == "true"
	if p.vendor.Verified != nil {
		said = p.vendor.Verified(claims)
	}
	if !said {
		return false
	}
	address, err := auth.CanonicalEmail(text(claims, "email"))
	if err != nil {
		return false
	}
	return slices.Contains(p.config.TrustedDomains, domainOf(address)) || slices.Contains(p.config.TrustedDomains, anyDomain)
}

// maxMetadata is how much of it is kept, in bytes of JSON: it travels in every access token.
const maxMetadata = 4 << 10

// metadata is what applications of Medusa look for in the user metadata, and the claims of the settings as far as there is room.
func (p *Provider) metadata(claims map[string]any, f auth.Profile) map[string]any {
	m := map[string]any{}
	room := maxMetadata
	if _, err := auth.CanonicalEmail(f.Email); err != nil {
		f.Email = "" // applications take what is there for an address
	}
	keep := func(name string, value any) {
		data, err := json.Marshal(value)
		size := len(name) + len(data) + len(`"":,`)
		if err != nil || size > room {
			p.log.Warn("a claim is not kept: there is no room for it", "claim", name, "bytes", len(data))
			return
		}
		m[name], room = value, room-size
	}
	for _, c := range []struct{ name, value string }{
		{"email", f.Email}, {"name", f.Name}, {"given_name", f.FirstName}, {"family_name", f.LastName}, {"picture", f.AvatarURL},
	} {
		if c.value != "" {
			keep(c.name, c.value)
		}
	}
	if f.Email != "" {
		keep("email_verified", f.EmailVerified) // as far as it is believed
	}
	for _, name := range p.config.MetadataClaims {
		if _, taken := m[name]; !taken && claims[name] != nil && name != "email" && name != "email_verified" {
			keep(name, claims[name])
		}
	}
	return m
}
