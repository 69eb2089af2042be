package auth

import (
	"slices"
	"strings"
)

// identity is the person or service that a token identifies.
type identity struct {
	subject        string
	serviceAccount bool // of Keycloak
	selfChosen     bool // a person may have chosen the subject
}

// serviceAccountPrefix precedes the client's id in the name of a client's own account at Keycloak.
const serviceAccountPrefix = "service-account-"

// selfChosenClaims are claims that users can set for themselves, at least at some issuers, in the
// form that isSelfChosen compares. If a right depended on one, users could obtain it by renaming
// themselves.
var selfChosenClaims = []string{
	"preferredusername", "username", "login", "loginname", "upn", "userprincipalname", "uniquename", "email", "emailaddress",
	"mail", "name", "nickname", "displayname", "givenname", "familyname", "surname", "phonenumber",
}

func (i *issuer) identify(claims map[string]any) (identity, error) {
	if i.tenant != "" {
		subject, err := entraSubject(claims, i.tenant)
		return identity{subject: subject}, err
	}
	claim, subject, err := i.subject(claims)
	if err != nil {
		return identity{}, err
	}
	id := identity{subject: subject, selfChosen: isSelfChosen(claim) && !(i.TrustIsBot && claims["isBot"] == true)}
	if i.Issuer.Issuer == "" {
		return id, nil
	}
	account, err := serviceAccountName(claims)
	switch {
	case err != nil:
		return identity{}, err
	case account != "":
		id.serviceAccount, id.selfChosen = true, false
		if claim != "sub" { // a client_id may equal a user's name
			id.subject = account
		}
	case strings.HasPrefix(subject, serviceAccountPrefix):
		return identity{}, errNoServiceAccount
	}
	return id, nil
}

// subject returns the first principal claim that is present, and its value.
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
	return "", "", refuse(BadClaims, "none of the principal claims is present")
}

// isUnverified reports whether the claim is an e-mail address that the issuer has not verified
// (OpenID Connect Core section 5.1): users can enter someone else's.
func isUnverified(claims map[string]any, claim string) bool {
	verified, present := claims["email_verified"]
	return claim == "email" && present && verified != true && verified != "true"
}

// isSelfChosen compares the last part of a claim's name, whether it is a member of an object
// (user.name) or the end of a URL or URN (https://hpc.example.org/preferred_username), and in any
// way to write it (userName).
func isSelfChosen(claim string) bool {
	last := claim[strings.LastIndexAny(claim, "./:#|")+1:]
	return slices.Contains(selfChosenClaims, strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(last)))
}

var errNoServiceAccount = refuse(BadClaims, "has a service account's name but not its claims")

// serviceAccountName returns the name of the service account if the token is one's, "" for others.
// In tokens of service accounts, and not of users with such a name, Keycloak includes the client's
// id (client_id, before version 20 clientId) and address. The client's scopes decide whether the
// name is included.
func serviceAccountName(claims map[string]any) (string, error) {
	client, ok := claims["client_id"].(string)
	if !ok {
		client, ok = claims["clientId"].(string)
	}
	account := serviceAccountPrefix + strings.ToLower(client)
	name, hasName := claims["preferred_username"]
	if !hasName && ok && (has(claims, "clientHost") || has(claims, "clientAddress")) {
		name = account
	}
	if text, _ := name.(string); !strings.HasPrefix(text, serviceAccountPrefix) {
		return "", nil
	}
	azp, hasAZP := claims["azp"]
	if !ok || client == "" || !IsName(account) || name != account || hasAZP && azp != client {
		return "", errNoServiceAccount
	}
	return account, nil
}

// jobUser returns the cluster user whose jobs are the principal's own; "" for a service account.
func (i *issuer) jobUser(claims map[string]any, id identity) (string, error) {
	if i.JobUserClaim == "" || id.serviceAccount {
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

// readPrincipal maps the claims to a Principal, without Expires.
func (i *issuer) readPrincipal(claims map[string]any) (*Principal, error) {
	id, err := i.identify(claims)
	if err != nil {
		return nil, err
	}
	p := &Principal{Issuer: i.Name, Subject: id.subject, SelfChosen: id.selfChosen, Clusters: i.Clusters}
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
