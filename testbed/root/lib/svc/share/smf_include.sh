# Stand-in for the shell support of service methods that smf_method(5) documents: exit statuses and functions.
# shellcheck disable=SC2034  # used by the methods that include this file

SMF_EXIT_OK=0
SMF_EXIT_ERR_FATAL=95
SMF_EXIT_ERR_CONFIG=96
SMF_EXIT_MON_DEGRADE=97
SMF_EXIT_MON_OFFLINE=98
SMF_EXIT_ERR_NOSMF=99
SMF_EXIT_ERR_PERM=100

# Succeeds where the service management facility runs.
smf_present() {
	[ -r /etc/svc/volatile/repository_door ]
}

# Takes the variables that the restarter sets for methods out of the environment, before a daemon gets it.
smf_clear_env() {
	unset SMF_FMRI
	unset SMF_METHOD
	unset SMF_RESTARTER
	unset SMF_ZONENAME
}

# The name of the zone, and whether it is the global one.
smf_zonename() {
	echo "${SMF_ZONENAME:-global}"
}

smf_is_globalzone() {
	[ "$(smf_zonename)" = global ]
}

smf_is_nonglobalzone() {
	! smf_is_globalzone
}
