# shellcheck shell=sh
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

# smf_kill_contract CONTRACT [SIGNAL [WAIT [TIMEOUT]]]: signals all processes of a contract, here the descendants of
# the process with that number. One that cannot be signalled is told and is no failure. With WAIT 1, returns when none is left: 2 if that takes more than TIMEOUT seconds.
smf_kill_contract() {
	case $1 in
	'' | *[!0-9]*)
		echo "smf_kill_contract: '$1' is not a contract" >&2
		return 1
		;;
	esac
	for smf_pid in $(smf_members "$1"); do
		if [ -n "${TESTBED_NO_PROC_SESSION-}" ] && [ "$(smf_session "$smf_pid")" != "$(smf_session $$)" ]; then
			# As pkill(1) does, whose status the function passes over.
			echo "pkill: Failed to signal pid $smf_pid: Not owner" >&2
			continue
		fi
		kill -"${2:-TERM}" "$smf_pid" 2>/dev/null
	done
	smf_waited=
	while [ "${3:-0}" = 1 ] && [ -n "$(smf_members "$1")" ]; do
		[ "${#smf_waited}" != "${4:--1}" ] || return 2
		sleep 1
		smf_waited=x$smf_waited
	done
	return 0
}

smf_session() {
	ps -o sid= -p "$1" | tr -d ' '
}

smf_members() {
	ps -e -o pid= -o ppid= | awk -v top="$1" '
	    { parent[$1] = $2 }
	    END {
		for (pid in parent)
			for (up = parent[pid]; up in parent; up = parent[up])
				if (up == top) { print pid; break }
	    }'
}
