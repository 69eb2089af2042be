package auth

import (
	"errors"
	"strings"

	"github.com/google/uuid"
)

// entraTenant returns the tenant in an issuer of Microsoft Entra ID, for versions 1 and 2 of its
// tokens in all of its clouds; "" for other issuers.
func entraTenant(iss string) (string, error) {
	for _, form := range [][2]string{
		{"https://sts.windows.net/", "/"},
		{"https://sts.chinacloudapi.cn/", "/"},
		{"https://login.microsoftonline.com/", "/v2.0"},
		{"https://login.microsoftonline.us/", "/v2.0"},
		{"https://login.partner.microsoftonline.cn/", "/v2.0"},
	} {
		rest, ok := strings.CutPrefix(iss, form[0])
		if !ok {
			continue
		}
		tenant, ok := strings.CutSuffix(rest, form[1])
		if !ok || !isGUID(tenant) {
			return "", errors.New("issuer: expected one Entra ID tenant: " + form[0] + "{tenant id in lower case}" + form[1])
		}
		return tenant, nil
	}
	return "", nil
}

// entraSubject returns tid/oid, which together identify one person or application permanently.
// Other claims differ by application (sub) or can be changed (e-mail, upn, preferred_username).
func entraSubject(claims map[string]any, tenant string) (string, error) {
	tid, ok := claims["tid"].(string)
	if !ok {
		return "", refuse(BadClaims, "tid is not a string")
	}
	if tid != tenant {
		return "", refuse(WrongTenant, "tid is not the issuer's tenant")
	}
	oid, ok := claims["oid"].(string)
	if !ok || !isGUID(oid) {
		return "", refuse(BadClaims, "oid is not a GUID in lower case")
	}
	return tid + "/" + oid, nil
}

// isEntraAccess reports whether this is an access token, which names its client in azp (version 2)
// or appid (version 1), and not an ID token, which does not.
func isEntraAccess(claims map[string]any) bool {
	azp, v2 := claims["azp"].(string)
	appid, v1 := claims["appid"].(string)
	return v2 && azp != "" || v1 && appid != ""
}

// isGUID reports whether s is a GUID in lower case, with hyphens and without braces.
func isGUID(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && id.String() == s
}
