package auth

import (
	"slices"
	"strings"
)

// identity is who a token speaks for.
type identity struct {
	subject string
	service bool // a service account of Keycloak
	mapped  bool // the subject may stand in the role map: no person chose it
}

// serviceAccount is what Keycloak puts before a client's id to name the account that the client has of its own.
const serviceAccount = "service-account-"

// chosenNames are the claims that people can set for themselves, at some issuers at least. A role that hung on such a
// name would be anybody's who renames himself in time.
var chosenNames = []string{
	"preferred_username", "username", "email", "upn", "unique_name", "name", "nickname", "given_name", "family_name",
}

func (i *issuer) identify(claims map[string]any) (identity, error) {
	if i.tenant != "" {
		subject, err := entraSubject(claims, i.tenant)
		return identity{subject: subject, mapped: true}, err
	}
	claim, subject, err := i.subject(claims)
	if err != nil {
		return identity{}, err
	}
	id := identity{subject: subject, mapped: claims["isBot"] == true || !isChosen(claim)}
	if i.Issuer.Issuer == "" {
		return id, nil
	}
	account, err := serviceAccountName(claims)
	switch {
	case err != nil:
		return identity{}, err
	case account != "":
		id.service, id.mapped = true, true
		if claim != "sub" { // a client_id may be a user's name too
			id.subject = account
		}
	case strings.HasPrefix(subject, serviceAccount):
		return identity{}, errNoServiceAccount
	}
	return id, nil
}

// subject returns the first of the principal claims that is there, and its value.
func (i *issuer) subject(claims map[string]any) (claim, value string, err error) {
	for _, claim := range i.PrincipalClaims {
		value, found, err := lookupName(claims, claim)
		if err != nil {
			return "", "", err
		}
		if found && !isUnverified(claims, claim) {
			return claim, value, nil
		}
	}
	return "", "", refuse(BadClaims, "none of the principal claims is there")
}

// isUnverified reports whether the claim is an e-mail that the issuer does not vouch for (OpenID Connect Core section
// 5.1): anybody can give anybody's.
func isUnverified(claims map[string]any, claim string) bool {
	verified, told := claims["email_verified"]
	return claim == "email" && told && verified != true && verified != "true"
}

func isChosen(claim string) bool {
	return slices.Contains(chosenNames, claim[strings.LastIndexByte(claim, '.')+1:])
}

var errNoServiceAccount = refuse(BadClaims, "named as a service account, and not shaped as one")

// serviceAccountName returns the name of the service account whose token this is, "" for others. Keycloak writes the
// client's id into its own accounts' tokens (client_id, before version 20 clientId) and where it asked from, and not
// into those of a user who is named like one. The name may be missing, which a client's scopes decide.
func serviceAccountName(claims map[string]any) (string, error) {
	client, ok := claims["client_id"].(string)
	if !ok {
		client, ok = claims["clientId"].(string)
	}
	account := serviceAccount + strings.ToLower(client)
	name, named := claims["preferred_username"]
	if !named && ok && (has(claims, "clientHost") || has(claims, "clientAddress")) {
		name = account
	}
	if text, _ := name.(string); !strings.HasPrefix(text, serviceAccount) {
		return "", nil
	}
	azp, given := claims["azp"]
	if !ok || client == "" || !IsName(account) || name != account || given && azp != client {
		return "", errNoServiceAccount
	}
	return account, nil
}

// jobUser returns whose jobs are the principal's own; nobody's, for a service account.
func (i *issuer) jobUser(claims map[string]any, id identity) (string, error) {
	if i.JobUserClaim == "" || id.service {
		return "", nil
	}
	name, _, err := lookupName(claims, i.JobUserClaim)
	if err != nil || isUnverified(claims, i.JobUserClaim) {
		return "", err
	}
	return name, nil
}

func (i *issuer) projects(claims map[string]any) (projects []string, err error) {
	for _, claim := range i.ProjectsClaims {
		list, err := lookupStrings(claims, claim)
		if err != nil {
			return nil, err
		}
		for _, project := range list {
			if !IsName(project) {
				return nil, refuse(BadClaims, claim+" has an item that is not a name")
			}
		}
		projects = append(projects, list...)
	}
	return projects, nil
}

// readPrincipal reads who the claims speak for and what that is here.
func (i *issuer) readPrincipal(claims map[string]any) (*Principal, error) {
	id, err := i.identify(claims)
	if err != nil {
		return nil, err
	}
	p := &Principal{Issuer: i.Name, Subject: id.subject, Clusters: i.Clusters}
	if p.JobUser, err = i.jobUser(claims, id); err != nil {
		return nil, err
	}
	if p.Projects, err = i.projects(claims); err != nil {
		return nil, err
	}
	if err := i.mapRoles(p, claims, id); err != nil {
		return nil, err
	}
	if p.Resources, err = i.resources(claims); err != nil {
		return nil, err
	}
	if p.TokenID, _, err = lookupName(claims, "jti"); err != nil {
		return nil, err
	}
	return p, nil
}
