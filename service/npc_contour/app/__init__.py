"""The one place where ports meet adapters.

    supervisor.serve         the whole service, with its embedded servers
    folder.segment_folder    contour a folder of DICOM without any of it
    roles.run_role           one process of the service
    probes.probes_of         how readiness and the doctor ask other programs

Nothing is imported here, so that each process loads only what it needs.
"""
