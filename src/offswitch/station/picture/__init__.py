"""The state of the world as the station shows it: one frozen picture, and whoever is told of it.

    warden ─ feed ─► Follower ─► Picture ─► Hub ─► every open page
    watch  ─ desk ─► DeskReader ──┘

A page never asks the warden what there is: it takes `hub.picture`, which is whole, and says of
itself whether it is live. What has changed goes to the pages by name, and each piece is made once.
"""
