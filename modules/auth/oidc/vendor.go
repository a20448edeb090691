package oidc

import "strings"

// Vendor is what the issuer of a vendor does otherwise than most: for packages that make providers of that vendor, such as
// google. A section of the type oidc has none of it, so that nothing is believed there that OpenID Connect does not say. The zero value changes
// nothing.
type Vendor struct {
	// Document is the address below which the issuer's document is, if not below the issuer itself.
	Document string

	// Spellings are how iss may be spelt besides. The entity id has the issuer as Config.Issuer spells it.
	Spellings []string

	// TenantClaim names the claim that says of which tenant of an issuer of many somebody is; empty: it is one issuer.
	// TenantIssuer is the issuer of a tenant, with {tenantid} for it: iss must be that of the tenant that the claim names, and the key
	// one that signs for it, if keys say for whom they do. Config.Issuer is TenantIssuer itself, as it stands in the document, if any
	// tenant's may come, which Admit decides; or that of one tenant. The entity id has the issuer of the person's tenant.
	TenantClaim, TenantIssuer string

	// Parameters are sent along to the authorization endpoint.
	Parameters map[string]string

	// NoUserinfo has userinfo never asked, because the ID token says all that it would.
	NoUserinfo bool

	// Admit looks at the claims of a token that is right. Its error is the answer to the caller: auth.ErrInvalidCredentials with a
	// message about who may sign in. nil: everybody may.
	Admit func(claims map[string]any) error

	// Verified reports whether the vendor says, in the claims, that the address in "email" is verified. It counts for
	// Config.TrustedDomains. nil: by email_verified.
	Verified func(claims map[string]any) bool
}

// placeholder stands for a tenant.
const placeholder = "{tenantid}"

// issuerOf is how entity ids spell an issuer that a token, or an answer, may be of; empty: it may not.
func (p *Provider) issuerOf(said string) string {
	if said == p.config.Issuer && !strings.Contains(said, placeholder) {
		return said
	}
	for _, other := range p.vendor.Spellings {
		if said == other {
			return p.config.Issuer
		}
	}
	if p.config.Issuer != p.vendor.TenantIssuer || p.vendor.TenantClaim == "" {
		return ""
	}
	before, after, _ := strings.Cut(p.vendor.TenantIssuer, placeholder)
	if tenant, ok := strings.CutPrefix(said, before); ok {
		if tenant, ok = strings.CutSuffix(tenant, after); ok && isTenant(tenant) {
			return said
		}
	}
	return ""
}

// isIssuer reports whether the token is of an issuer that it may be of and, if that has many tenants, of the tenant it names.
func (p *Provider) isIssuer(claims map[string]any) bool {
	iss := text(claims, "iss")
	return p.issuerOf(iss) != "" && (p.vendor.TenantClaim == "" || iss == p.tenantIssuer(p.vendor.TenantIssuer, claims))
}

// tenantIssuer is the issuer of the tenant that the claims name; empty if they name none.
func (p *Provider) tenantIssuer(of string, claims map[string]any) string {
	tenant := text(claims, p.vendor.TenantClaim)
	if !isTenant(tenant) {
		return ""
	}
	return strings.ReplaceAll(of, placeholder, tenant)
}

// maySign reports whether the key signs for the issuer of the claims.
func (p *Provider) maySign(key publishedKey, claims map[string]any) bool {
	return p.vendor.TenantClaim == "" || key.issuer == "" || p.tenantIssuer(key.issuer, claims) == text(claims, "iss")
}

// isTenant reports whether a text can name a tenant: it is part of an address, and leads nowhere else.
func isTenant(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, ".") == s && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '.'
	})
}
