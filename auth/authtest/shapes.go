package authtest

import (
	"strings"
	"time"
)

// The functions return the claims of access tokens as the real issuers make them, valid for ten
// minutes from now. The caller may change the result.

// CCBackend returns the claims of cc-backend's tokens: no iss, no kid, signed with EdDSA.
func CCBackend(now time.Time, user string, roles ...string) map[string]any {
	return map[string]any{
		"sub": user, "roles": append([]string{}, roles...), "projects": []string{},
		"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	}
}

// OpenMetadataBot returns the claims of an OpenMetadata 1.5 bot whose token never expires: exp is
// null. RS256 with a kid.
func OpenMetadataBot(now time.Time, bot string) map[string]any {
	return map[string]any{
		"iss": "open-metadata.org", "sub": bot, "roles": []any{nil}, "email": bot + "@open-metadata.org",
		"isBot": true, "tokenType": "BOT", "username": bot, "preferred_username": bot,
		"iat": now.Unix(), "exp": nil,
	}
}

// KeycloakUser returns the claims of the token that Keycloak 26 gives a client for a user. RS256
// with a kid.
func KeycloakUser(now time.Time, realm, client, user string, roles ...string) map[string]any {
	return map[string]any{
		"exp": now.Add(10 * time.Minute).Unix(), "iat": now.Unix(), "auth_time": now.Unix(),
		"jti": "onrtac:6e1dc2c5-5b12-4a5e-9b6b-0b4b1c6b6c11", "iss": realm, "aud": []string{"metric-store", "account"},
		"sub": "f8f2d3f4-6a3b-4a52-9c3e-1d2f3a4b5c6d", "typ": "Bearer", "azp": client,
		"sid": "1f3b6b1e-58c8-4f4b-8d34-2f6f6e6a7c55", "acr": "1", "allowed-origins": []string{"https://jupyter.example.org"},
		"realm_access":    map[string]any{"roles": append([]string{"offline_access", "uma_authorization"}, roles...)},
		"resource_access": map[string]any{"account": map[string]any{"roles": []string{"view-profile"}}},
		"scope":           "openid email profile", "email_verified": true, "name": "A User",
		"preferred_username": user, "given_name": "A", "family_name": "User", "email": user + "@example.org",
	}
}

// KeycloakServiceAccount returns the claims for a client that acts for itself (client credentials).
func KeycloakServiceAccount(now time.Time, realm, client string, roles ...string) map[string]any {
	return map[string]any{
		"exp": now.Add(10 * time.Minute).Unix(), "iat": now.Unix(),
		"jti": "trrtcc:5d2b3c5f-9df5-4a2c-8a7e-6f4e5d3c2b1a", "iss": realm, "aud": []string{"metric-store", "account"},
		"sub": "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", "typ": "Bearer", "azp": client, "acr": "1",
		"realm_access":   map[string]any{"roles": append([]string{"default-roles-data-sec"}, roles...)},
		"scope":          "email profile",
		"email_verified": false, "clientHost": "192.0.2.7", "clientAddress": "192.0.2.7", "client_id": client,
		"preferred_username": "service-account-" + strings.ToLower(client),
	}
}

// DataHub returns the claims of DataHub's metadata service; kind is "PERSONAL" or "SESSION". HS256
// without a kid.
func DataHub(now time.Time, kind, actor string) map[string]any {
	version := "2"
	if kind == "SESSION" {
		version = "1"
	}
	return map[string]any{
		"actorType": "USER", "actorId": actor, "type": kind, "version": version,
		"jti": "7c3b1c68-3e1f-4b8b-9a53-2b8f7d6e5c4a", "sub": actor,
		"exp": now.Add(10 * time.Minute).Unix(), "iss": "datahub-metadata-service",
	}
}

// EntraV1 returns the claims of Microsoft Entra ID's version 1 tokens. RS256 with a kid.
func EntraV1(now time.Time, tenant, object string, roles ...string) map[string]any {
	return map[string]any{
		"aud": "api://metric-store", "iss": "https://sts.windows.net/" + tenant + "/",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		"acr": "1", "aio": "AXQAi/8IAAAA", "amr": []string{"pwd"}, "appid": "c4a2a7a0-0d1f-4e3b-9a53-000000000001",
		"appidacr": "0", "family_name": "User", "given_name": "A", "ipaddr": "192.0.2.7", "name": "A User",
		"oid": object, "rh": "0.ARwA6Wg.", "roles": append([]string{}, roles...), "scp": "user_impersonation",
		"sub": "l3_roISQU222bULS9yi2k0XpqpOiMz5H3ZACo1GeXA", "tid": tenant, "unique_name": "a.user@example.org",
		"upn": "a.user@example.org", "uti": "fqiBqXLPj0eQa82S-IYFAA", "ver": "1.0",
	}
}

// EntraV2 returns the claims of Microsoft Entra ID's version 2 tokens. RS256 with a kid.
func EntraV2(now time.Time, tenant, object string, roles ...string) map[string]any {
	return map[string]any{
		"aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "iss": "https://login.microsoftonline.com/" + tenant + "/v2.0",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "aio": "AXQAi/8IAAAA",
		"azp": "c4a2a7a0-0d1f-4e3b-9a53-000000000001", "azpacr": "0", "name": "A User", "oid": object,
		"preferred_username": "a.user@example.org", "rh": "0.I.", "roles": append([]string{}, roles...), "scp": "access_as_user",
		"sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "tid": tenant, "uti": "fqiBqXLPj0eQa82S-IYFAA", "ver": "2.0",
	}
}
